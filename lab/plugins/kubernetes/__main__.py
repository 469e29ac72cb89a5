"""Starts the plugin: `python -m lab.plugins.kubernetes ENGINE_ADDRESS`."""

from lab.plugins.kubernetes import main

main()
