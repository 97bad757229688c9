"""Datasets, each with a card and with images as bytes by index."""
