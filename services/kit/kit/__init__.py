"""The common code of Python services: settings, logs, metrics, health, errors, a database.

A service uses it as the build context `kit` (`contexts` in its service.yaml), and pins the requirements of the modules
that it imports in its own requirements.txt. Its tests are in `kit_testing`, and run as each service's own.
"""
