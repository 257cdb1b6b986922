"""Listening, accepting, draining."""
