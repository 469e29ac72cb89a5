"""Environments that are made like another one, with settings of their own that are never committed, and removed again.

Their stack says so in two tags, `slipway:like` and `slipway:expires`, so that every clone knows it.
"""
