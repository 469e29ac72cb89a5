"""An update: preparation with the repair of a state, preview, approval, run."""
