"""Models, one file each; they share functions and never inherit from one another."""
