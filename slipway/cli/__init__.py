"""The commands: one module each, a plain function that returns an exit code."""
