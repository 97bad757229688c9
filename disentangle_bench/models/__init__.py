"""Models: one file each, sharing functions and never inheriting from one another."""
