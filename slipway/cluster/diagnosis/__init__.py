"""Why a rollout fails, as pure functions: the cluster's objects in, a cause and one screen of text out."""

from slipway.cluster.diagnosis.diagnose import diagnose, diagnose_job, is_complete, is_rolled_out, screen
from slipway.cluster.diagnosis.model import Cause, Diagnosis, Evidence, JobEvidence, Log

__all__ = [
    "Cause",
    "Diagnosis",
    "Evidence",
    "JobEvidence",
    "Log",
    "diagnose",
    "diagnose_job",
    "is_complete",
    "is_rolled_out",
    "screen",
]
