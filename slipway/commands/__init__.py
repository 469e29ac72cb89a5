"""One module a command; each command is a plain function that returns an exit code."""
