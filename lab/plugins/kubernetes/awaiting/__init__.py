"""When an object counts as ready: one pure function per kind, and the loop that asks it at every change."""
