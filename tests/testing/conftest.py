"""The fixtures that applications use."""

pytest_plugins = ["hubws.testing.fixtures"]
