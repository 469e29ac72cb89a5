"""Pulumi's backends, self-managed or Pulumi Cloud: states, history and locks."""

from slipway.backend.history import History
from slipway.backend.update_info import RollbackInfo, UpdateInfo, UpdateKind, parse_rollback, rollback_message

__all__ = ["History", "RollbackInfo", "UpdateInfo", "UpdateKind", "parse_rollback", "rollback_message"]
