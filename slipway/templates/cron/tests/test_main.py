"""A run ends well, and says what it has done."""

from __future__ import annotations

import importlib
import logging

import pytest

main = importlib.import_module("sample_service.main")


def test_a_run_ends_and_says_what_it_has_done(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(main, "run", lambda: 3)
    with caplog.at_level(logging.INFO):
        main.main()
    assert "3 done" in caplog.text
