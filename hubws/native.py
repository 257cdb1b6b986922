"""Which twin of the native modules runs: C or Python, chosen once, at import.

`HUBWS_NATIVE` in the environment says: `auto` (C if it was built, else Python with one warning),
`never` (Python) or `require` (C, or ImportError).
"""

import importlib
import os
import warnings
from types import ModuleType

CHOICES = ("auto", "never", "require")

_warned = False


def choose(native: str, pure: str) -> ModuleType:
    """Import the module `native`, or its twin `pure` where the environment or the build says so."""
    global _warned  # noqa: PLW0603 - said once for all modules
    choice = os.environ.get("HUBWS_NATIVE", "auto")
    if choice not in CHOICES:
        raise ImportError(f"HUBWS_NATIVE is {choice!r}; it must be one of {', '.join(CHOICES)}")
    if choice == "never":
        return importlib.import_module(pure)
    try:
        return importlib.import_module(native)
    except ImportError:
        if choice == "require":
            raise
        if not _warned:
            _warned = True
            warnings.warn(
                "hubws runs on its pure-Python codec, several times slower than the native one: "
                "install it again with a C compiler, or set HUBWS_NATIVE=never to accept this",
                RuntimeWarning,
                stacklevel=2,
            )
        return importlib.import_module(pure)
