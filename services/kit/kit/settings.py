"""Reads settings from the environment, and ends the process with one clear line if they are wrong."""

from __future__ import annotations

import logging
import logging.config
import math
import os
from collections.abc import Callable
from typing import TypeVar

from .logs import log_config

LOG_LEVELS = ("debug", "info", "warning", "error")
CONFIGURATION_EXIT_STATUS = 2

Settings = TypeVar("Settings")


class SettingsError(Exception):
    """A variable of the environment is missing or wrong; the message never repeats a secret."""


def required(name: str, example: str) -> str:
    """Value of the variable `name`; raises SettingsError if it is not set or empty."""
    value = os.environ.get(name, "").strip()
    if not value:
        raise SettingsError(f"{name} is not set; set it to something like {example}")
    return value


def log_level() -> str:
    """`LOG_LEVEL`, one of LOG_LEVELS; info if it is not set."""
    level = os.environ.get("LOG_LEVEL", "").strip().lower() or "info"
    if level not in LOG_LEVELS:
        raise SettingsError(f"LOG_LEVEL is {level!r}; set it to one of {', '.join(LOG_LEVELS)}")
    return level


def port(default: int) -> int:
    """`PORT`, the TCP port to listen on; 0 lets the kernel choose one."""
    value = os.environ.get("PORT", "").strip() or str(default)
    if not value.isdecimal() or int(value) > 65535:
        raise SettingsError(f"PORT is {value!r}; set it to a number from 0 to 65535")
    return int(value)


def positive_number(name: str, example: str) -> float:
    """Value of the variable `name`, a number above 0; raises SettingsError if it is not set or no such number."""
    value = required(name, example)
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise SettingsError(f"{name} is {value!r}; set it to a number above 0, such as {example}")
    return number


def read_or_exit(service: str, read: Callable[[], Settings]) -> Settings:
    """The result of `read`; a SettingsError becomes one log line and exit status 2, never a traceback."""
    try:
        return read()
    except SettingsError as error:
        logging.config.dictConfig(log_config(service, "info"))
        logging.getLogger(service).critical("cannot start: %s", error)
        raise SystemExit(CONFIGURATION_EXIT_STATUS) from None
