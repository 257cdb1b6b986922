"""Fuzzing, differential runs and mutation testing of the protocol; the README says how."""
