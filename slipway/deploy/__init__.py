"""An update: preview, approval, run, and recovery from one that was killed."""
