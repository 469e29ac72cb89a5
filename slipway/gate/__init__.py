"""What stands before an update: its preview, and the approval that is bound to it."""
