"""The command line of Slipway, and what it shares with the program."""
