"""Names and files of the databases of environments."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import postgres
from lab.lab import Lab
from lab.settings import LabSettings
from slipway.errors import ConfigurationError
from slipway.progress import Progress


def test_each_environment_has_names_of_its_own() -> None:
    names = [postgres.database_name(each, "order_service") for each in ("prod", "dev", "pr-1", "x" * 60, "x" * 61)]
    assert names[:3] == ["order_service", "order_service_dev", "order_service_pr-1"]
    assert len(set(names)) == len(names)
    assert max(map(len, names)) == postgres.NAME_MAX_BYTES


def test_every_service_of_the_example_is_given_a_file_for_each_environment(tmp_path: Path) -> None:
    settings = LabSettings(home=tmp_path)
    given = Lab(settings, Progress()).variables()
    for service, database in (("ORDER_CLEANUP", "order_service"), ("USER_SERVICE", "user_service")):
        file = given[f"{service}_DATABASE_URL_FILE"].replace("{stack}", "dev")
        assert Path(file) == postgres.url_file(settings, "dev", database)


def test_environments_that_were_made_stay_known(tmp_path: Path) -> None:
    settings = LabSettings(home=tmp_path)
    postgres.url_file(settings, "pr-1", "order_service").parent.mkdir(parents=True)
    assert postgres.environments(settings) == ["dev", "pr-1", "prod"]


@pytest.mark.parametrize("name", ["", "..", ".x", "-x", "a/b", "a b", "x" * 101, "a;DROP", "ä"])
def test_what_cannot_be_an_environment_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="is not a valid name of an environment"):
        postgres.require_environment(name)
