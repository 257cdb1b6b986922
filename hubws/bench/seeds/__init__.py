"""The benchmarks of the documents that hubws began with, as far as one machine goes."""
