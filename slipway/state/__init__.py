"""A stack's resources as its state has them: read, compared, ordered, repaired. Pure."""
