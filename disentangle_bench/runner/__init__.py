"""Where and how runs happen."""
