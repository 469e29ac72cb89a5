"""`make bench`: times Slipway and Helm with the same objects, on the lab, in one run."""
