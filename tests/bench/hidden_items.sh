#!/usr/bin/env bash
# How items that training has not seen are found: ids alone, a tower with a vocabulary of its own, MiniLM frozen, MiniLM
# fine-tuned; Amazon games, 5 % of the items hidden, several seeds, which choose both the items and the training. Prints
# a table: recall@20 among the hidden items and within the full catalogue, in multiples of a random order's, with 95 %
# intervals. Runs that are done are not done again.
#
#   tests/bench/hidden_items.sh --data FOLDER [--model FOLDER] [--rondo FILE] [--out FOLDER] [--seeds "1 2 3"]
#                               [--towers "ids learned frozen fine"] [--threads N]
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
rondo=$root/build/release/bin/rondo model=$root/build/peers/minilm out=$root/runs/hidden_items
data='' seeds='1 2 3' towers='ids learned frozen fine' threads=1
while (($#)); do
  case $1 in
    --data) data=$2 ;;
    --model) model=$2 ;;
    --rondo) rondo=$2 ;;
    --out) out=$2 ;;
    --seeds) seeds=$2 ;;
    --towers) towers=$2 ;;
    --threads) threads=$2 ;;
    *) sed -n '2,9p' "$0" && exit 2 ;;
  esac
  shift 2
done
[[ -n $data ]] || { echo "hidden_items.sh: --data names the folder of games.test.inter.gz and games.item.gz" >&2 && exit 2; }

job=(--job "$root/configs/amazon_games_hidden.textproto" --set "data.dataset=$out/dataset" --set "threads=$threads"
  --set "schema.event_file.path=$data/games.test.inter.gz"
  --set "schema.catalog_file.path=$data/games.item.gz")
declare -A of_tower=(
  [ids]='model.text_beta=0 model.history_text=false'
  [learned]='text.hidden_size=64 text.num_hidden_layers=1 text.num_attention_heads=2 text.intermediate_size=128'
  [frozen]="text.weights=$model text.frozen=true"
  # A step costs many times that of the others: fewer and smaller ones, half their products' precision.
  [fine]="text.weights=$model text.products=PRODUCTS_BF16 train.steps=80 train.global_batch=256 train.warmup_steps=8 train.optimizer.learning_rate=0.0001"
)

mkdir -p "$out"
[[ -e $out/dataset/dataset.textproto ]] || "$rondo" ingest "${job[@]}" --build-vocabulary 8000 > "$out/ingest.log"
for seed in $seeds; do
  for tower in $towers; do
    run=$out/$tower-$seed
    if [[ -e $run/done ]]; then continue; fi
    rm -rf "$run"
    sets=()
    for field in ${of_tower[$tower]} "seed=$seed" "data.hidden_items.seed=$seed"; do sets+=(--set "$field"); done
    "$rondo" train "${job[@]}" "${sets[@]}" --out "$run" > "$out/$tower-$seed.log" 2>&1 || { tail "$out/$tower-$seed.log" >&2 && exit 1; }
    rm -rf "$run/checkpoints" && touch "$run/done"
  done
done

python3 - "$out" "$seeds" "$towers" << 'TABLE'
import json, pathlib, sys

out, seeds, towers = pathlib.Path(sys.argv[1]), sys.argv[2].split(), sys.argv[3].split()


def shown(line, among):
    found = line[among]["recall@20"]
    return f"{found['recall']:.4f} | {found['times_random']:.2f} [{found['low']:.2f}, {found['high']:.2f}]"


print("| tower | seed | hidden items | users | recall@20 among hidden | times random | within all | times random | HR@10 of all users |")
print("|---|---|---|---|---|---|---|---|---|")
for tower in towers:
    for seed in seeds:
        lines = [json.loads(line) for line in open(out / f"{tower}-{seed}" / "metrics.jsonl")]
        hidden = [line for line in lines if line["event"] == "eval_hidden"][-1]
        whole = [line for line in lines if line["event"] == "eval" and line["model"] == "rondo"][-1]
        print(f"| {tower} | {seed} | {hidden['hidden']} | {hidden['users']} | {shown(hidden, 'among_hidden')} | "
              f"{shown(hidden, 'among_all')} | {whole['metrics']['hr@10']:.4f} |")
TABLE
