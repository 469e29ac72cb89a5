"""Whether an image is built from the stage of its unit tests, as BuildKit would have it: never on a guess."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from services.builds import Dockerfile

TESTED = """\
ARG BASE=python
FROM $BASE AS build
FROM build AS Test
RUN pytest
"""


def takes_in(folder: Path, text: str, replaced: Sequence[str] = ()) -> bool:
    (folder / "Dockerfile").write_text(text)
    return Dockerfile.read(folder / "Dockerfile").takes_in("runtime", "test", replaced)


@pytest.mark.parametrize(
    "runtime",
    [
        "FROM test AS runtime",
        "FROM --platform=linux/amd64 TEST as Runtime",
        "FROM scratch AS runtime\nCOPY --from=test /a /b",
        "FROM scratch AS runtime\ncopy --chmod=755 --from=Test \\\n  # of the tests\n  /a /b",
        "FROM scratch AS runtime\nRUN --mount=type=cache,target=/c --mount=target=/mnt,from=test cp /mnt/a /a",
        "FROM test AS binary\nRUN make\nFROM scratch AS runtime\nCOPY --from=binary /a /b",
        "FROM scratch AS files\nCOPY --from=test /a /b\nFROM files AS runtime",
        "FROM scratch AS runtime\nRUN cat <<EOF >/a\nFROM other AS runtime\nEOF\nCOPY --from=test /a /b",
        'FROM scratch AS runtime\nRUN echo " <<EOF"\nCOPY --from=test /a /b',
    ],
)
def test_an_image_takes_in_what_it_begins_with_and_takes_files_from(tmp_path: Path, runtime: str) -> None:
    assert takes_in(tmp_path, f"{TESTED}{runtime}\n")


@pytest.mark.parametrize(
    "runtime",
    [
        "FROM build AS runtime",
        "FROM scratch AS runtime\nCOPY /a /b",
        "FROM scratch AS runtime\n# COPY --from=test /a /b",
        "FROM scratch AS runtime\nRUN echo --from=test COPY --from=test /a /b",
        "FROM scratch AS runtime\nRUN --mount=type=tmpfs,target=/tmp,from=test true",
        "FROM scratch AS runtime\nRUN <<EOF\nCOPY --from=test /a /b\nEOF",
        "FROM scratch AS runtime\nRUN cat <<-EOF\n\tCOPY --from=test /a /b\n\tEOF",
        "FROM scratch AS runtime\nCOPY --from=testing /a /b",
        # What a build argument names may be anything.
        "ARG FROM=test\nFROM ${FROM} AS runtime",
        # Another stage of the file, which nothing asks for.
        "FROM scratch AS other\nCOPY --from=test /a /b\nFROM scratch AS runtime",
        # Of two stages with one name, either could be meant.
        "FROM test AS runtime\nFROM scratch AS runtime",
        "FROM test AS runtime\nFROM scratch AS test",
    ],
)
def test_an_image_does_not_take_in_what_only_looks_like_it(tmp_path: Path, runtime: str) -> None:
    assert not takes_in(tmp_path, f"{TESTED}{runtime}\n")


def test_what_comes_later_in_the_file_is_an_image_and_no_stage(tmp_path: Path) -> None:
    assert not takes_in(tmp_path, f"FROM test AS runtime\nCOPY --from=test /a /b\n{TESTED}")


def test_with_another_sign_of_continuation_nothing_is_certain(tmp_path: Path) -> None:
    runtime = "FROM scratch AS runtime\nRUN echo `\nCOPY --from=test /a /b\n"
    assert not takes_in(tmp_path, f"# escape=`\n{TESTED}{runtime}")


def test_a_named_context_stands_for_the_stage_of_its_name(tmp_path: Path) -> None:
    text = f"{TESTED}FROM test AS files\nFROM scratch AS runtime\nCOPY --from=files /a /b\n"
    assert takes_in(tmp_path, text, ["kit"])
    for name in ("files", "test", "runtime"):
        assert not takes_in(tmp_path, text, [name])
