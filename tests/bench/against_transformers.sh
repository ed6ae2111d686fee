#!/usr/bin/env bash
# Text towers: text_bench against transformers (PyTorch) on the same texts, in one run, in turn.
#
#   tests/bench/against_transformers.sh [--bin FILE] [--peers FOLDER] [--environment FOLDER] [--model FOLDER]
#                                       [--data FOLDER] [--texts FILE]... [--runs 3] [--steps 40] [--limit 4096]
#                                       [--threads 2] [--only NAME]... [--log FILE]
#
#   --bin          text_bench                            default build/release/bin/text_bench
#   --peers        holds setup.sh and hf_bert_bench.py   default $RONDO_PEERS, else ../shared/peers
#   --environment  Python with transformers; setup.sh makes it where it is missing    default build/peers
#   --model        a Hugging Face folder of a BERT       default ENVIRONMENT/minilm
#   --data         holds rt-polarity and womens-clothing-reviews    default $RONDO_DATA, else ../shared/data
#   --texts        one text a line, instead of the film and clothing reviews of --data; may be given several times
#   --steps        measured training steps, --limit: texts used; both sides alike
#   --only         a case by its name in the table; may be given several times
#   --log          the RESULT lines of all runs          default build/against_transformers.log
#
# Each case runs transformers, then text_bench, as often as --runs says; the best of each counts. `padded` has no target:
# it is the usual recipe of the peer, every text padded to 128 tokens, and the same batches without padding here. A case
# takes about a minute a run and file of texts. Ends with 1 when a ratio is below its target.
set -euo pipefail
cd "$(dirname "$0")/../.."

bin=build/release/bin/text_bench
peers=${RONDO_PEERS:-../shared/peers}
environment=build/peers
data=${RONDO_DATA:-../shared/data}
model=
runs=3
steps=40
limit=4096
threads=2
log=build/against_transformers.log
only=()
texts=()
while [ $# -gt 0 ]; do
  case $1 in
    --bin) bin=$2 ;;
    --peers) peers=$2 ;;
    --environment) environment=$2 ;;
    --model) model=$2 ;;
    --data) data=$2 ;;
    --texts) texts+=("$2") ;;
    --runs) runs=$2 ;;
    --steps) steps=$2 ;;
    --limit) limit=$2 ;;
    --threads) threads=$2 ;;
    --only) only+=("$2") ;;
    --log) log=$2 ;;
    *) sed -n '2,22s/^# \{0,1\}//p' "$0" >&2; exit 64 ;;
  esac
  shift 2
done

# name | target | figure | transformers' options | ours
readonly CASES="full|1.4|examples_per_s|--mode full_sorted --tuned|--mode full
full_bf16|2.0|examples_per_s|--mode full_sorted --tuned --bf16|--mode full --bf16
padded|-|examples_per_s|--mode full_padded|--mode full_random
encode|1.3|tokens_per_s|--mode encode --tuned|--mode encode
encode_bf16|2.0|tokens_per_s|--mode encode --tuned --bf16|--mode encode --bf16
tokenize|5.0|tokens_per_s|--mode tokenize --threads 1|--mode tokenize --threads 1"

program=against_transformers
. tests/bench/peer_runs.sh
prepare_peers hf_bert_bench.py
model=${model:-$environment/minilm}
prepared=$(mktemp -d)
trap 'rm -rf "$prepared"' EXIT

# Film sentences and clothing reviews, one a line.
prepare_texts() {
  (. "$environment/activate" && python - "$data" "$prepared") <<'END'
import csv, gzip, io, pathlib, sys

data, out = map(pathlib.Path, sys.argv[1:])
read = lambda name: gzip.decompress((data / name).read_bytes()).decode("utf-8", errors="replace")
films = read("rt-polarity/rt-polarity.neg.gz") + read("rt-polarity/rt-polarity.pos.gz")
reviews = csv.DictReader(io.StringIO(read("womens-clothing-reviews/reviews.csv.gz")))
(out / "film.txt").write_text(films)
(out / "clothing.txt").write_text("\n".join(" ".join(row["review_text"].split()) for row in reviews))
END
  texts=("$prepared/film.txt" "$prepared/clothing.txt")
}

transformers() {
  (. "$environment/activate" && timeout 900 python "$peers/hf_bert_bench.py" "$@" 2>> "$log.errors" < /dev/null)
}

rondo() { timeout 900 "$bin" "$@" 2>> "$log.errors" < /dev/null; }

[ ${#texts[@]} -gt 0 ] || prepare_texts
below=0
printf '%-12s %-12s %16s %12s %7s %7s\n' texts case 'transformers, /s' 'Rondo, /s' ratio target
for file in "${texts[@]}"; do
  flags=(--model "$model" --texts "$file" --batch 16 --steps "$steps" --limit "$limit")
  while IFS='|' read -r name target of theirs_options ours_options; do
    wanted "$name" || continue
    [[ $ours_options == *--threads* ]] || theirs_options+=" --threads $threads" ours_options+=" --threads $threads"
    theirs=0 ours=0
    for ((run = 0; run < runs; ++run)); do
      theirs=$(larger "$theirs" "$(transformers "${flags[@]}" $theirs_options | figure "$of")")
      ours=$(larger "$ours" "$(rondo "${flags[@]}" $ours_options | figure "$of")")
    done
    ratio=$(awk -v a="$ours" -v b="$theirs" 'BEGIN { printf "%.2f", a / b }')
    printf '%-12s %-12s %16.1f %12.1f %7s %7s\n' "$(basename "$file" .txt)" "$name" "$theirs" "$ours" "$ratio" "$target"
    [ "$target" = - ] || ! awk -v r="$ratio" -v t="$target" 'BEGIN { exit !(r < t) }' || below=1
  done <<< "$CASES"
done
exit $below
