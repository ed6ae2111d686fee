#!/usr/bin/env bash
# From a fresh clone to recommendations: sets up, builds `rondo`, makes a shop, ingests it, trains over two ranks, evaluates,
# and recommends for one user. The time of each part is printed at the end.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
  cat <<'END'
usage: launch/quickstart.sh

Leaves the shop, the dataset and the run in runs/quickstart, as configs/quickstart.textproto says; what is there already
is made again.

example: launch/quickstart.sh
END
}

case ${1:-} in
  "") ;;
  -h | --help)
    usage
    exit 0
    ;;
  *)
    usage >&2
    exit 2
    ;;
esac
readonly RANKS=2 JOB=configs/quickstart.textproto
out=runs/quickstart
rondo=build/release/bin/rondo
times=()

# part NAME COMMAND...: runs it and keeps its time.
part() {
  local name=$1 start=$SECONDS
  shift
  printf '\n== %s\n' "$name"
  "$@"
  times+=("$(printf '%6d s  %s' $((SECONDS - start)) "$name")")
}

build() {
  . launch/build_jobs.sh # jobs
  cmake --build build/release -j "$jobs" --target rondo
}

# One process a rank, whose threads share the cores; oversubscribed where there are fewer cores than ranks.
train() {
  mpirun --allow-run-as-root --oversubscribe --mca mpi_yield_when_idle 1 -n $RANKS \
    "$rondo" train --job $JOB --out "$out/run"
}

recommend() {
  local user
  user=$(head -n 2 "$out/shop/events.csv" | tail -n 1 | cut -d , -f 1)
  "$rondo" recommend --run "$out/run" --user "$user" --top 10
}

part "set-up (downloads included)" launch/setup.sh
part "configure" cmake --preset release
part "build" build
rm -rf "$out"
part "make a shop" "$rondo" synth --job $JOB --out "$out/shop"
part "ingest" "$rondo" ingest --job $JOB --out "$out/dataset" --build-vocabulary 4000
part "train over $RANKS ranks" train
part "evaluate" "$rondo" evaluate --run "$out/run"
part "recommend" recommend

printf '\n== times\n'
printf '%s\n' "${times[@]}"
printf '%6d s  in all; the run is in %s\n' $SECONDS "$out/run"
