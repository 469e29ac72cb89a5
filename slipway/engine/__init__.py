"""The `pulumi` process: how it is run, its events, errors and build logs, and the messages that pass through it."""
