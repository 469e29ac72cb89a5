"""The commands: a plain function each, which returns an exit code; main.py declares them."""
