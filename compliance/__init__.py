"""The Autobahn test suite, run against hubws: `python -m compliance server`, `... client`."""
