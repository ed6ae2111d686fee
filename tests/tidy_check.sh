#!/usr/bin/env bash
# Runs clang-tidy 23.1.4 with the rules of .clang-tidy over the sources given, or over all of build/<PRESET>.
#
#   tests/tidy_check.sh [--preset PRESET] [FILE.cc...]        PRESET: cpu, release, ...; default: cpu
#
# Needs a configured build folder and `launch/setup.sh --tools`. Not a part of tests/run.sh: it takes as long as a build.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly VERSION=23.1.4
preset=cpu
if [ "${1:-}" = --preset ]; then
  preset=$2
  shift 2
fi
tidy=${RONDO_DEPS:-${XDG_CACHE_HOME:-$HOME/.cache}/rondo}/tools/bin/clang-tidy
"$tidy" --version 2>/dev/null | grep -qF "version $VERSION" || {
  echo "clang-tidy $VERSION is not here; launch/setup.sh --tools installs it" >&2
  exit 1
}
[ -f "build/$preset/compile_commands.json" ] || {
  echo "build/$preset is not configured; cmake --preset $preset does it" >&2
  exit 1
}
if [ $# -gt 0 ]; then
  files=("$@")
else
  mapfile -t files < <(grep -o '"file": *"[^"]*"' "build/$preset/compile_commands.json" | cut -d'"' -f4 |
    grep -E "^$PWD/(sharding|trainer|launch|tests)/" | sort -u)
fi
# omp.h is found among the headers of g++ alone.
printf '%s\0' "${files[@]}" | xargs -0 -n 1 -P "$(nproc)" "$tidy" -p "build/$preset" --quiet \
  --extra-arg=-idirafter --extra-arg="$(g++ -print-file-name=include)"
