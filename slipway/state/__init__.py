"""Reads, compares, orders and repairs the resources in a stack's state. Pure."""
