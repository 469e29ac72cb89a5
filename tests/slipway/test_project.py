"""What a project says of its environments, and which of their files it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway.errors import ConfigurationError
from slipway.project import Project


def test_a_value_that_pulumi_reads_otherwise_is_refused_before_pulumi_runs(tmp_path: Path) -> None:
    """Pulumi writes `668` into the file as soon as it saves it, and nobody can tell then what was there."""
    file = tmp_path / "Pulumi.dev.yaml"
    file.write_text("config:\n  user-service:PIN: 01234\n")
    with pytest.raises(ConfigurationError, match="Pulumi reads Pulumi\\.dev\\.yaml differently") as caught:
        Project(tmp_path).environment_file("dev")
    assert "Pulumi.dev.yaml:2: `user-service:PIN` is written 01234" in caught.value.why
    file.write_text("config:\n  user-service:PIN: '01234'\n")
    assert Project(tmp_path).environment_file("dev") == file


def test_a_key_that_is_given_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.dev.yaml").write_text("config:\n  a:B: x\n  a:B: y\n")
    with pytest.raises(ConfigurationError) as caught:
        Project(tmp_path).environment_file("dev")
    assert "`a:B` is given twice, first on line 2" in caught.value.why
