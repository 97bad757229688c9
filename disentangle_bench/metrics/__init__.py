"""Metrics of disentanglement, as pure functions of arrays."""
