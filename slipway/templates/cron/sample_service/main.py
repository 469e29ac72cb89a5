"""Does its work once, and ends; an error ends it with another exit code than 0."""

from __future__ import annotations

import logging
import os

logger = logging.getLogger(__name__)


def run() -> int:
    """Do what there is to do; returns how much that was. Another run of the same work must do no harm."""
    return 0


def main() -> None:
    logging.basicConfig(level=os.environ.get("LOG_LEVEL", "info").upper(), format="%(levelname)s %(message)s")
    logger.info("%d done", run())


if __name__ == "__main__":
    main()
