"""Temporary environments: made like another one, with their own settings that are never committed, and removed again.

Their stack has two tags for this, `slipway:like` and `slipway:expires`, so that every clone knows it.
"""
