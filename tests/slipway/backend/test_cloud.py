"""Pulumi Cloud's history, with documented JSON in the engine's place: see `CloudHistory`."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from slipway.backend import History, RollbackInfo, UpdateKind
from slipway.engine.pulumi_cli import Pulumi
from slipway.errors import SlipwayError
from slipway.project import Project

Engine = Callable[[str], Pulumi]


def update(version: int, **more: Any) -> dict[str, Any]:
    return {
        "version": version,
        "kind": "update",
        "startTime": "2026-11-23T19:18:20.000Z",
        "message": "Say hello",
        "environment": {"git.author": "Ada", "git.head": "0123", "git.dirty": "true"},
        "config": {"scratch:greeting": {"value": "hello", "secret": False}},
        "result": "succeeded",
        "endTime": "2026-11-23T19:18:24.000Z",
        "resourceChanges": {"create": 1},
        **more,
    }


def opened(tmp_path: Path, engine: Pulumi) -> History:
    (tmp_path / "Pulumi.yaml").write_text("name: scratch\nruntime: python\n")
    return History.open(engine, Project(tmp_path), "dev")


def pages(tmp_path: Path, *contents: list[dict[str, Any]]) -> str:
    for number, content in enumerate(contents, start=1):
        (tmp_path / f"page-{number}").write_text(json.dumps(content))
    page = '$(echo "$*" | sed "s/.*--page //; s/ .*//")'
    return f'case "$*" in *history*) cat {tmp_path}/page-{page};; esac'


def test_versions_are_numbers(tmp_path: Path, stub_engine: Engine) -> None:
    newest_first = [
        update(4, result="in-progress", endTime=None, resourceChanges=None),
        update(3, config={"scratch:rollbackTo": {"value": "1", "secret": False}}),
        update(2, kind="preview"),
        update(1),
    ]
    history = opened(tmp_path, stub_engine(pages(tmp_path, newest_first)))
    first, last = history.entries
    assert (first.number, first.kind, first.author, first.dirty) == (1, UpdateKind.UPDATE, "Ada", True)
    assert (first.started, first.duration_seconds) == (datetime(2026, 11, 23, 19, 18, 20, tzinfo=UTC), 4.0)
    assert (last.number, last.rollback) == (3, RollbackInfo(2, 1))
    assert "--stack dev --json --full-dates" in (tmp_path / "asked").read_text()


@pytest.mark.parametrize(
    ("last", "locked"),
    [({"result": "in-progress"}, True), ({"result": "in-progress", "kind": "preview"}, False), ({}, False)],
)
def test_an_update_that_is_under_way_holds_the_stack(
    tmp_path: Path, stub_engine: Engine, *, last: dict[str, Any], locked: bool
) -> None:
    source = opened(tmp_path, stub_engine(pages(tmp_path, [update(2, **last), update(1)]))).source
    assert source.is_held() is locked


def test_all_pages_are_read(tmp_path: Path, stub_engine: Engine) -> None:
    every = [update(version) for version in range(250, 0, -1)]
    history = opened(tmp_path, stub_engine(pages(tmp_path, every[:100], every[100:200], every[200:])))
    assert [entry.number for entry in history.entries] == list(range(1, 251))
    assert (tmp_path / "asked").read_text().count("stack history") == 3


def test_states_are_exported(tmp_path: Path, stub_engine: Engine) -> None:
    (tmp_path / "state").write_text(json.dumps({"version": 3, "deployment": {"manifest": {"version": "v3"}}}))
    listed = pages(tmp_path, [update(1)])
    history = opened(tmp_path, stub_engine(f'{listed}\ncase "$*" in *export*) cat {tmp_path}/state;; esac'))
    assert history.checkpoint(1) == history.present() == {"manifest": {"version": "v3"}, "resources": []}
    commands = (tmp_path / "asked").read_text().splitlines()
    assert [line.split(" --non")[0] for line in commands[1:]] == [
        "stack export --stack dev --version 1",
        "stack export --stack dev",
    ]


def test_an_empty_history(tmp_path: Path, stub_engine: Engine) -> None:
    assert opened(tmp_path, stub_engine("echo '[]'")).entries == ()
    assert opened(tmp_path, stub_engine("echo Stack has never been updated")).entries == ()


def test_what_the_engine_refuses(tmp_path: Path, stub_engine: Engine) -> None:
    with pytest.raises(SlipwayError) as caught:
        _ = opened(tmp_path, stub_engine("echo 'error: no stack named dev found' >&2; exit 255")).entries
    assert "no stack named" in str(caught.value)
    listed = pages(tmp_path, [update(1)])
    history = opened(tmp_path, stub_engine(f'{listed}\ncase "$*" in *export*) echo gone >&2; exit 1;; esac'))
    with pytest.raises(SlipwayError, match="#1") as caught:
        history.checkpoint(1)
    assert "gone" in caught.value.why
