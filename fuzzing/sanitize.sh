#!/usr/bin/env bash
# Run the tests of the two C modules with ASan and UBSan, on a copy of the tree.
#
#     fuzzing/sanitize.sh
#
# It takes gcc and a Python with the tests' packages: PYTHON, by default .venv/bin/python.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-$root/.venv/bin/python}
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
cp -r "$root"/{hubws,tests,fuzzing,pyproject.toml} "$copy"
cd "$copy"

include=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
rm -f hubws/*/*.so
for room in protocol transport; do
  gcc -g -O1 -Wall -Wextra -fno-omit-frame-pointer -fPIC -shared \
    -fsanitize=address,undefined -fno-sanitize-recover=all -DPy_LIMITED_API=0x030B0000 \
    -I"$include" "hubws/$room/_native.c" -o "hubws/$room/_native.abi3.so"
done

# Python's own memory comes from malloc, so that ASan sees the ends of every object; what Python
# does not give back when it ends is no leak of ours.
export LD_PRELOAD=$(gcc -print-file-name=libasan.so)
export PYTHONMALLOC=malloc ASAN_OPTIONS=detect_leaks=0:abort_on_error=1 HUBWS_NATIVE=require
export HYPOTHESIS_PROFILE=${HYPOTHESIS_PROFILE:-long}
"$python" - "$copy" <<'END'
import sys
from hubws.protocol import _native as codec
from hubws.transport import _native as syscalls

with open("/proc/self/maps") as maps:
    assert "libasan" in maps.read(), "ASan is not in this process"
for module in (codec, syscalls):
    assert module.__file__.startswith(sys.argv[1]), f"{module.__file__} is not the one built here"
END
"$python" -m pytest -q --capture=sys -p no:cacheprovider tests/protocol/test_codec.py tests/transport \
  tests/fuzzing/test_targets.py -k "test_codec or transport or native or twins"
