"""What the engine says, read: its events, its errors, its logs, and the stages of a run."""
