"""The command line of Slipway, and the modules that it shares with the program."""
