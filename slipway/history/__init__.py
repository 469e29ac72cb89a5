"""The history of a stack as its backend keeps it: numbered updates, and the state that each of them left."""

from slipway.history.history import History
from slipway.history.model import Entry, Kind, Rollback, parse_rollback, rollback_message

__all__ = ["Entry", "History", "Kind", "Rollback", "parse_rollback", "rollback_message"]
