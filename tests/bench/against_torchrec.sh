#!/usr/bin/env bash
# Train steps of sharded tables: exchange_bench against TorchRec on the same ids, in one run, in turn.
#
#   tests/bench/against_torchrec.sh [--bin FILE] [--peers FOLDER] [--environment FOLDER] [--runs 5] [--steps 100]
#                                   [--only NAME]... [--log FILE]
#
#   --bin          exchange_bench                          default build/release/bin/exchange_bench
#   --peers        holds setup.sh and torchrec_bench.py    default $RONDO_PEERS, else ../shared/peers
#   --environment  Python with TorchRec; setup.sh makes it where it is missing    default build/peers
#   --only         a case by its name in the table; may be given several times
#   --log          the RESULT lines of all runs            default build/against_torchrec.log
#
# Each case runs TorchRec, then exchange_bench, as often as --runs says; the best of each counts. Threads of both wait
# passively, so that a rank that waits leaves its core to the other. Ends with 1 when a ratio is below its target.
set -euo pipefail
cd "$(dirname "$0")/../.."

bin=build/release/bin/exchange_bench
peers=${RONDO_PEERS:-../shared/peers}
environment=build/peers
runs=5
steps=100
log=build/against_torchrec.log
only=()
while [ $# -gt 0 ]; do
  case $1 in
    --bin) bin=$2 ;;
    --peers) peers=$2 ;;
    --environment) environment=$2 ;;
    --runs) runs=$2 ;;
    --steps) steps=$2 ;;
    --only) only+=("$2") ;;
    --log) log=$2 ;;
    *) sed -n '2,14s/^# \{0,1\}//p' "$0" >&2; exit 64 ;;
  esac
  shift 2
done

readonly FIRST="--tables 8 --rows 1000000 --dim 64 --pooling 20 --batch 1024"
# name | target | processes | threads of each | options of both programs
readonly CASES="table_wise|2.0|2|1|$FIRST --sharding table_wise
row_wise|2.0|2|1|$FIRST --sharding row_wise
column_wise|2.0|2|1|$FIRST --sharding column_wise
one_id|5.0|2|1|--tables 26 --rows 1000000 --dim 16 --pooling 1 --batch 2048 --sharding table_wise
many_ids|2.5|2|1|--tables 2 --rows 4000000 --dim 64 --pooling 50 --batch 512 --sharding row_wise
one_process|1.8|1|2|$FIRST --sharding table_wise"

program=against_torchrec
. tests/bench/peer_runs.sh
prepare_peers torchrec_bench.py
mpirun_flags=(--oversubscribe --bind-to none) # the plain loop takes the cores of all ranks
[ "$(id -u)" != 0 ] || mpirun_flags+=(--allow-run-as-root)
export OMP_WAIT_POLICY=passive GOMP_SPINCOUNT=0 KMP_BLOCKTIME=0

torchrec() {
  (. "$environment/activate" && timeout 600 python "$peers/torchrec_bench.py" "$@" 2>> "$log.errors" < /dev/null) | figure examples_per_s_total
}

# rondo PROCESSES OPTION...
rondo() {
  local processes=$1
  shift
  if [ "$processes" = 1 ]; then
    timeout 600 "$bin" "$@" 2>> "$log.errors" < /dev/null | figure examples_per_s_total
  else
    timeout 600 mpirun "${mpirun_flags[@]}" -n "$processes" "$bin" "$@" 2>> "$log.errors" < /dev/null | figure examples_per_s_total
  fi
}

below=0
printf '%-12s %16s %16s %7s %7s\n' case 'TorchRec, ex/s' 'Rondo, ex/s' ratio target
while IFS='|' read -r name target processes threads options; do
  wanted "$name" || continue
  flags=($options --world-size "$processes" --threads "$threads" --steps "$steps")
  theirs=0 ours=0
  for ((run = 0; run < runs; ++run)); do
    theirs=$(larger "$theirs" "$(OMP_NUM_THREADS=$threads torchrec "${flags[@]}")")
    ours=$(larger "$ours" "$(OMP_NUM_THREADS=$threads rondo "$processes" "${flags[@]}")")
  done
  ratio=$(awk -v a="$ours" -v b="$theirs" 'BEGIN { printf "%.2f", a / b }')
  printf '%-12s %16.0f %16.0f %7s %7s\n' "$name" "$theirs" "$ours" "$ratio" "$target"
  awk -v r="$ratio" -v t="$target" 'BEGIN { exit !(r < t) }' && below=1
done <<< "$CASES"
exit $below
