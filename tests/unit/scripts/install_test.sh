#!/usr/bin/env bash
# An installed tree works after it was moved, without any environment.
set -euo pipefail
build=$(dirname -- "$(dirname -- "$RETORT")")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cmake --install "$build" --prefix "$scratch/here" >"$scratch/log" 2>&1 || { cat "$scratch/log"; exit 1; }
mv "$scratch/here" "$scratch/elsewhere"
program=$scratch/elsewhere/bin/retort
env -i "$program" --version
if env -i ldd "$program" | grep -F "not found"; then echo "libraries are missing"; exit 1; fi
# Nothing may come from the build or from .deps.
if env -i ldd "$program" | grep -F "$RETORT_SOURCE"; then echo "the tree leans on its build"; exit 1; fi
for path in lib/libtorch_cpu.so lib/libc10.so share/retort/examples/glyphs.ini \
  share/doc/retort/ARCHITECTURE.md share/doc/retort/README.md; do
  [ -f "$scratch/elsewhere/$path" ] || { echo "$path was not installed"; exit 1; }
done
env -i PATH=/usr/bin:/bin "$program" train --help | grep -q -e --learning-rate
