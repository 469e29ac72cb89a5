"""Why a rollout fails, as pure functions: what the cluster has in, a cause and one screen of text out."""

from slipway.diagnosis.diagnose import diagnose, is_complete, is_rolled_out
from slipway.diagnosis.model import Cause, Diagnosis, Evidence, Log
from slipway.diagnosis.screen import MARK, screen

__all__ = ["MARK", "Cause", "Diagnosis", "Evidence", "Log", "diagnose", "is_complete", "is_rolled_out", "screen"]
