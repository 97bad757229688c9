"""Codes of trained models and their scores."""
