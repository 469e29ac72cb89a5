"""A stack's state and where it is kept: read, compared, and what of it is to be declared again."""
