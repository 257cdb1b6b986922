"""Hubs over several processes and machines."""
