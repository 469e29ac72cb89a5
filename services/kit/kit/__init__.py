"""What every Python service does alike: settings, logs, metrics, health, errors, a database.

A service takes it in as the build context `kit` (`contexts` in its service.yaml), and pins in its own requirements.txt
what the modules need that it imports. Tests of it are in `kit_testing`, and run as each service's own.
"""
