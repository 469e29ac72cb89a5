"""What every service does alike: settings, logs, metrics, health, errors.

A service is its own build context, so it cannot import from its neighbours: files of the same name in the `kit` folders
are the same, byte for byte, in each service and in the template of `slipway new`. A test of the repository says so.
"""
