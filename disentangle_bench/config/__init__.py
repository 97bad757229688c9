"""Turn names into a complete spec, with the source of each value."""
