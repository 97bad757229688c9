"""Shared by tests: synthetic data, real commands, servers, and the values that are known to be right."""
