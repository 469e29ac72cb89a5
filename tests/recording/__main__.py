"""Makes recordings anew, on the lab: all of them, or the kinds that are named.

.venv/bin/python -m tests.recording [diagnosis] [jobs] [updates] [states] [previews] [fifty] [huge] [texts]
"""

from __future__ import annotations

import sys

from tests.recording import diagnosis, jobs, previews, states, updates, versions

KINDS = {
    "diagnosis": diagnosis.record,
    "jobs": jobs.record,
    "updates": updates.record,
    "states": states.record,
    "previews": previews.record,
    "fifty": previews.record_fifty,
    "huge": previews.record_huge,
}


def main(names: list[str]) -> None:
    """Record each kind of `names`, all without any, and write down the versions that it was recorded with."""
    if unknown := set(names) - {*KINDS, "texts"}:
        raise SystemExit(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(KINDS)} and texts")
    for name in names or KINDS:
        if name == "texts":
            previews.write_texts()
        else:
            KINDS[name]()
            versions.write(name)


if __name__ == "__main__":
    main(sys.argv[1:])
