"""`make bench`: the same objects through Slipway and through Helm, on the lab, timed in one run."""
