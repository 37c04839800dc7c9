#!/usr/bin/env bash
# scripts/check-layers finds each kind of breach, and none in a clean tree.
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$scratch"/{scripts,core,comm,io,nn,pipeline}
cp "$RETORT_SOURCE/scripts/check-layers" "$scratch/scripts/"
cd "$scratch"
git init -q .
expect() {  # expect CODE TEXT
  local code=0
  scripts/check-layers >out 2>&1 || code=$?
  if [ "$code" != "$1" ] || ! grep -qF -- "$2" out; then
    echo "wanted exit code $1 and '$2', got $code and:"
    cat out
    exit 1
  fi
}
printf '#pragma once\nint f();\n' >core/f.h
printf '#include "core/f.h"\n#include <vector>\nint g() { return f(); }\n' >io/g.cpp
expect 0 "2 files, 0 breaches"
breach() {  # breach FILE TEXT EXPECTED
  printf '%b' "$2" >"$1"
  expect 1 "$3"
  rm "$1"
}
printf '#pragma once\n' >io/g.h
breach core/a.cpp '#include "io/g.h"\n' 'core/a.cpp:1: core may not include io: "io/g.h"'
breach core/a.cpp '#include "g.h"\n' '"g.h" is no file of this tree'
breach io/a.cpp '#include <mpi.h>\n' 'io may not know MPI'
breach nn/a.cpp '#include <hdf5.h>\n' 'nn may not know HDF5'
breach io/a.cpp '#include <ATen/ATen.h>\n' 'io may not know torch'
breach pipeline/a.cpp '#include <torch/types.h>\n' 'pipeline may not know torch'
breach nn/a.h '#pragma once\n#include <torch/torch.h>\n' 'torch/torch.h in a header'
breach nn/a.cpp '#include <boost/program_options.hpp>\n' 'nn may not know Boost.Program_options'
breach core/a.h 'int a();\n' 'no #pragma once'
breach core/a.cpp 'class RunManager {};\n' 'name the type by what it is'
breach core/file_utils.cpp '\n' 'name the file by its subject'
breach core/a.cpp "$(printf 'int a;\\n%.0s' {1..460})" '460 lines, at most 450'
expect 0 "3 files, 0 breaches"
