"""What every run of the engine is given."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.slipway.opened import engine_in


@pytest.mark.parametrize(
    ("own", "expected"), [({}, "400 1GiB true"), ({"GOGC": "50", "GOMEMLIMIT": "2GiB"}, "50 2GiB true")]
)
def test_its_garbage_collector_runs_less_often_unless_somebody_says_otherwise(
    tmp_path: Path, own: dict[str, str], expected: str
) -> None:
    engine = engine_in(tmp_path, '#!/bin/sh\necho "$GOGC $GOMEMLIMIT $PULUMI_SKIP_UPDATE_CHECK"\n')
    assert engine.with_variables(own).run("version").output.strip() == expected
