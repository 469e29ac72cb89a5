"""The rollback to a recorded state: which one, what to declare, the run, and its proof."""
