"""From names to a complete spec, with where each value comes from."""
