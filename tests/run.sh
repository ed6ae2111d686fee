#!/usr/bin/env bash
# Sets up, builds and runs the tests; what ctest says comes last. Nothing needs to be installed before.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
  cat <<'END'
usage: tests/run.sh [PRESET...]

Presets of CMakePresets.json: release, debug, asan, tsan, cpu. Default: release, asan, then tsan, which has the tests of
sharding/ only. Stops at the first that fails. RONDO_JOBS: compilers at once (default: cores, one for 1.5 GB of memory).

example: tests/run.sh asan
END
}

presets=()
for argument in "$@"; do
  case $argument in
    release | debug | asan | tsan | cpu) presets+=("$argument") ;;
    -h | --help)
      usage
      exit 0
      ;;
    *)
      usage >&2
      echo "tests/run.sh: unknown preset $argument" >&2
      exit 2
      ;;
  esac
done
[ ${#presets[@]} -gt 0 ] || presets=(release asan tsan)

launch/setup.sh --tools
. launch/build_jobs.sh # jobs
for preset in "${presets[@]}"; do
  start=$SECONDS
  cmake --preset "$preset"
  targets=(tests/all)
  [ "$preset" = tsan ] || targets+=(rondo)
  cmake --build "build/$preset" -j "$jobs" --target "${targets[@]}"
  echo "tests/run.sh: $preset built in $((SECONDS - start)) s"
  ctest --test-dir "build/$preset" -j 2 --output-on-failure --no-tests=error
done
