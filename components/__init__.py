"""Pulumi component resources that make up an environment."""
