"""The services that are written, what a change of them is, and a long history as Pulumi's file backend keeps it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bench.results import Size
from bench.tools import BenchServices, copy_updates
from services.catalog import load


def written(folder: Path, size: Size) -> BenchServices:
    old = folder / "services" / "old_service"
    old.mkdir(parents=True)
    (old / "service.yaml").write_text("name: old-service\n")
    (old / "Dockerfile").write_text("FROM scratch\n")
    (folder / "services" / "kit").mkdir()
    workload = BenchServices(folder, size, "run")
    workload.write()
    return workload


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in (folder / "services").rglob("*") if path.is_file())
    return {str(path.relative_to(folder / "services")): path.read_text() for path in files}


def test_services_without_replicas_are_valid_and_take_the_place_of_others(tmp_path: Path) -> None:
    workload = written(tmp_path, Size(12))
    services = load(tmp_path / "services")
    assert sorted(service.name for service in services) == sorted(workload.names)
    assert len(services) == 12
    assert {service.spec.replicas for service in services} == {0}


def test_the_dockerfile_has_both_stages(tmp_path: Path) -> None:
    written(tmp_path, Size(1))
    dockerfile = contents(tmp_path)["bench_001/Dockerfile"]
    assert re.findall(r"^FROM \S+ AS (\S+)$", dockerfile, re.MULTILINE) == ["test", "runtime"]


def test_real_services_are_valid_and_answer_with_their_version(tmp_path: Path) -> None:
    workload = written(tmp_path, Size(2, real=True))
    services = load(tmp_path / "services")
    assert {service.spec.replicas for service in services} == {1}
    for name in workload.names:
        package = name.replace("-", "_")
        assert f'version="{workload.text(name)}"' in contents(tmp_path)[f"{package}/{package}/routes.py"]


@pytest.mark.parametrize("size", [Size(3), Size(2, real=True)], ids=str)
def test_a_change_is_of_one_file_of_each_service_that_is_named(tmp_path: Path, size: Size) -> None:
    workload = written(tmp_path, size)
    before, old = contents(tmp_path), workload.text("bench-002")
    workload.change("bench-002")
    changed = {name for name, text in contents(tmp_path).items() if text != before[name]}
    assert len(changed) == 1
    assert changed.pop().startswith("bench_002/")
    assert workload.text("bench-002") != old
    before = contents(tmp_path)
    workload.change()
    changed = {name.partition("/")[0] for name, text in contents(tmp_path).items() if text != before[name]}
    assert changed == {name.replace("-", "_") for name in workload.names}


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
