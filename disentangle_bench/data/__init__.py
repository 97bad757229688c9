"""Datasets: one card each, images as bytes reachable by index."""
