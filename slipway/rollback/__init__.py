"""The return to a recorded state: which one, what may refuse it, the way back, and its proof."""
