"""Long histories, as Pulumi's file backend and Helm keep theirs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from bench.many_updates import copies, copy_updates, decode, encode


def test_a_release_is_decoded_as_it_was_encoded() -> None:
    release = {"name": "bench", "version": 3, "info": {"status": "deployed"}, "manifest": "ä"}
    assert decode(encode(release)) == release


def test_copies_of_a_release_differ_in_their_version() -> None:
    release = {"name": "bench", "version": 3, "info": {"status": "deployed", "notes": "x"}, "manifest": "m"}
    labels = {"name": "bench", "owner": "helm", "status": "deployed", "version": "3"}
    secret: dict[str, Any] = {
        "type": "helm.sh/release.v1",
        "metadata": {"name": "sh.helm.release.v1.bench.v3", "labels": labels, "uid": "1"},
        "data": {"release": encode(release)},
    }
    made = copies(secret, range(4, 6))
    assert [each["metadata"]["name"] for each in made] == ["sh.helm.release.v1.bench.v4", "sh.helm.release.v1.bench.v5"]
    assert [each["metadata"]["labels"]["version"] for each in made] == ["4", "5"]
    assert "uid" not in made[0]["metadata"]
    decoded = decode(made[1]["data"]["release"])
    assert decoded == {**release, "version": 5, "info": {"status": "superseded", "notes": "x"}}
    assert secret["metadata"]["labels"]["version"] == "3"


def test_a_file_backend_has_as_many_updates_as_requested_for_all_older(tmp_path: Path) -> None:
    for stamp, start in ((2_000_000_000_000_000_000, 100), (2_000_000_005_000_000_000, 105)):
        (tmp_path / f"dev-{stamp}.history.json").write_text(json.dumps({"startTime": start, "endTime": start + 1}))
        (tmp_path / f"dev-{stamp}.checkpoint.json").write_text(f"state of {start}")
    copy_updates(tmp_path, "dev", 10)
    files = sorted(tmp_path.glob("*.history.json"))
    assert len(files) == len(list(tmp_path.glob("*.checkpoint.json"))) == 10
    starts = [json.loads(file.read_text())["startTime"] for file in files]
    assert starts == [*range(92, 100), 100, 105]
    assert all(re.fullmatch(r"dev-\d{19}\.history\.json", file.name) for file in files)
    assert (tmp_path / files[0].name.replace("history", "checkpoint")).read_text() == "state of 100"
