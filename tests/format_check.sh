#!/usr/bin/env bash
# Whether every C++ file of the tree is as clang-format 23.1.5 leaves it. Exit code 77 (skipped) where that is absent:
# `launch/setup.sh --tools` installs it. `tests/format_check.sh --fix` formats instead.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly VERSION=23.1.5
deps=${RONDO_DEPS:-${XDG_CACHE_HOME:-$HOME/.cache}/rondo}
format=
for candidate in "$deps/tools/bin/clang-format" clang-format; do
  if "$candidate" --version 2>/dev/null | grep -qF "version $VERSION"; then
    format=$candidate
    break
  fi
done
if [ -z "$format" ]; then
  echo "skipped: clang-format $VERSION is not here; launch/setup.sh --tools installs it"
  exit 77
fi
mapfile -t files < <(find sharding trainer launch tests \( -name '*.h' -o -name '*.cc' -o -name '*.cu' \) | sort)
if [ "${1:-}" = --fix ]; then
  "$format" -i "${files[@]}"
else
  "$format" --dry-run -Werror "${files[@]}"
  echo "${#files[@]} files are formatted"
fi
