"""An update from its start to its end, and the mending of what an earlier one left half done."""
