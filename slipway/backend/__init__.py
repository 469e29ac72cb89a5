"""Where Pulumi keeps stacks, self-managed or Pulumi Cloud: states, history and locks."""

from slipway.backend.entry import Entry, Kind, Rollback, parse_rollback, rollback_message
from slipway.backend.history import History

__all__ = ["Entry", "History", "Kind", "Rollback", "parse_rollback", "rollback_message"]
