"""Builds the two optional C modules; HUBWS_NATIVE=auto|never|require says whether they must."""

import os
import sysconfig

from setuptools import Extension, setup

native = os.environ.get("HUBWS_NATIVE", "auto")
if native not in ("auto", "never", "require"):
    raise SystemExit(f"HUBWS_NATIVE is {native!r}; it must be auto, never or require")
free_threaded = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


def extension(name: str) -> Extension:
    """One C file as a stable-ABI module (Python 3.11 and later), left out if it can't be built."""
    return Extension(
        f"hubws.{name}",
        [f"hubws/{name.replace('.', '/')}.c"],
        extra_compile_args=["-O3", "-Wall", "-Wextra"] if os.name == "posix" else [],
        define_macros=[] if free_threaded else [("Py_LIMITED_API", "0x030B0000")],
        py_limited_api=not free_threaded,
        optional=native == "auto",
    )


setup(
    ext_modules=[]
    if native == "never"
    else [extension("protocol._native"), extension("transport._native")],
    options={} if free_threaded else {"bdist_wheel": {"py_limited_api": "cp311"}},
)
