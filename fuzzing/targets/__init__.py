"""What is fuzzed: a module for each target, with `check` and `seeds`, and no fuzzer in it.

`check(data)` returns if the target keeps its invariant, which the docstring of its module states,
and raises if not. `seeds()` are a few inputs from valid traffic for a fuzzer to begin with.
"""

from pathlib import Path

NAMES = sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))
