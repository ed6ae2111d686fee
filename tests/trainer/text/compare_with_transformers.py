#!/usr/bin/env python3
"""Compares text towers with `transformers` and `sentence-transformers` on one model and one machine.

    compare_with_transformers.py --rondo FILE --probe FILE [--peers FOLDER] [--model FOLDER] [--data FOLDER]
                                 [--texts N] [--only vectors,export,training]

  --rondo, --probe   the programs rondo and tower_probe
  --peers            holds the model as minilm/; its Python runs this script       default build/peers
  --model            another folder of a BERT with mean pooling
  --data             data sets whose texts are encoded                             default ../shared/data

vectors: those of `rondo encode` against mean pooling, to 1e-5 of the largest. export: the folder that `rondo import
--out` writes, loaded by transformers and sentence-transformers. training: the weights after 20 AdamW steps without
dropout, to 1e-4 of each tensor's largest value (the key's bias exempt: its gradient is zero but for rounding).

Exit code 77 (skipped) where the packages, the model or the data are absent.
"""

import argparse
import gzip
import json
import pathlib
import subprocess
import sys
import tempfile

SKIPPED = 77


def skip(why):
    print(f"skipped: {why}")
    sys.exit(SKIPPED)


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rondo", required=True)
    parser.add_argument("--probe", required=True)
    parser.add_argument("--peers", default="build/peers")
    parser.add_argument("--model")
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--texts", type=int, default=1000)
    parser.add_argument("--only", default="vectors,export,training")
    return parser.parse_args()


options = arguments()
model_folder = pathlib.Path(options.model or pathlib.Path(options.peers) / "minilm")
if not (model_folder / "model.safetensors").exists():
    skip(f"no model in {model_folder}; --model or --peers names another folder")
try:
    import numpy
    import torch
    import transformers
    from safetensors.torch import load_file
except ImportError as error:
    skip(f"the Python package {error.name} is not installed")

torch.set_num_threads(1)


def texts_of(data, count):
    """Texts of several sets, spread over each, and some of awkward lengths."""
    sources = [("sst2/train.tsv.gz", lambda line: line.split("\t")[-1]),
               ("rt-polarity/rt-polarity.pos.gz", lambda line: line),
               ("amazon-musical-instruments-reviews/reviews.jsonl.gz",
                lambda line: str(json.loads(line).get("reviewText", ""))),
               ("zh-online-shopping/online_shopping_9_cats.csv.gz", lambda line: line)]
    texts = ["", "a", "word " * 600]
    for path, read in sources:
        file = pathlib.Path(data) / path
        if not file.exists():
            continue
        with gzip.open(file, "rt", encoding="utf-8", errors="replace", newline="\n") as lines:
            found = [" ".join(read(line).split()) for line in lines if line.strip()]
        texts += found[:: max(1, len(found) // (count // len(sources)))]
    return texts[:count]


def mean_vectors(tokenizer, model, texts, max_tokens, batch=16):
    vectors = []
    with torch.no_grad():
        for begin in range(0, len(texts), batch):
            inputs = tokenizer(texts[begin:begin + batch], padding=True, truncation=True, max_length=max_tokens,
                               return_tensors="pt")
            states = model(**inputs).last_hidden_state
            mask = inputs["attention_mask"].unsqueeze(-1).to(states.dtype)
            vectors.append((states * mask).sum(1) / mask.sum(1))
    return torch.cat(vectors)


def report(what, difference, limit):
    good = difference < limit  # not for NaN
    print(f"{what}: {difference:.3g} (limit {limit:g}){'' if good else '  FAILED'}", flush=True)
    return good


def compare_vectors(texts, scratch):
    """The folder normalises; so is the peer's mean."""
    path = scratch / "texts.txt"
    path.write_text("".join(text + "\n" for text in texts), encoding="utf-8", newline="\n")
    subprocess.run([options.rondo, "encode", "--from", str(model_folder), "--texts", str(path), "--out",
                    str(scratch / "ours.npy"), "--max-tokens", "512", "--set", "threads=1"], check=True,
                   stderr=subprocess.DEVNULL)
    ours = torch.from_numpy(numpy.load(scratch / "ours.npy"))
    tokenizer = transformers.AutoTokenizer.from_pretrained(model_folder)
    model = transformers.AutoModel.from_pretrained(model_folder).eval()
    theirs = torch.nn.functional.normalize(mean_vectors(tokenizer, model, texts, 512))
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    return report(f"vectors of {len(texts)} texts, largest difference", (ours - theirs).abs().max().item(), 1e-5)


def compare_export(texts, scratch):
    copy = scratch / "copy"
    subprocess.run([options.rondo, "import", "--from", str(model_folder), "--out", str(copy)], check=True,
                   stdout=subprocess.DEVNULL)
    texts = texts[:64]
    good = True
    states = []
    for folder in (model_folder, copy):
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        model, loading = transformers.AutoModel.from_pretrained(folder, output_loading_info=True)
        problems = {name: keys for name, keys in loading.items() if keys and name != "unexpected_keys"}
        if folder == copy and (problems or loading["unexpected_keys"]):
            print(f"the copy loads with {loading}  FAILED")
            good = False
        states.append((tokenizer(texts)["input_ids"], mean_vectors(tokenizer, model.eval(), texts, 256)))
    good &= report("tokens of a copy, texts that differ", sum(a != b for a, b in zip(states[0][0], states[1][0])), 1)
    good &= report("vectors of a copy by transformers", (states[0][1] - states[1][1]).abs().max().item(), 1e-9)
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        print("sentence-transformers is not installed: its loading was not tried")
        return good
    ours, theirs = (torch.from_numpy(SentenceTransformer(str(folder)).encode(texts)) for folder in (copy, model_folder))
    return good & report("vectors of a copy by sentence-transformers", (ours - theirs).abs().max().item(), 1e-6)


def train_peer(batches, dtype):
    model = transformers.AutoModel.from_pretrained(model_folder, dtype=dtype, attn_implementation="eager")
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    model.train()
    decays = [p for n, p in model.named_parameters() if not n.endswith("bias") and "LayerNorm" not in n]
    others = [p for n, p in model.named_parameters() if n.endswith("bias") or "LayerNorm" in n]
    optimizer = torch.optim.AdamW([{"params": decays, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}],
                                  lr=2e-5)
    for batch in batches:
        length = max(map(len, batch))
        ids = torch.tensor([text + [0] * (length - len(text)) for text in batch])
        mask = torch.tensor([[1] * len(text) + [0] * (length - len(text)) for text in batch])
        states = model(input_ids=ids, attention_mask=mask).last_hidden_state
        weights = mask.unsqueeze(-1).to(dtype)
        vectors = (states * weights).sum(1) / weights.sum(1)
        rows = torch.arange(vectors.shape[0], dtype=torch.float64).unsqueeze(1)
        columns = torch.arange(vectors.shape[1], dtype=torch.float64).unsqueeze(0)
        loss = ((vectors - torch.sin(0.37 * rows + 0.11 * columns).to(dtype)) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"their last loss {loss.item():.6g}")
    return {name: value.detach().float() for name, value in model.named_parameters()}


def compare_training(texts, scratch):
    tokenizer = transformers.AutoTokenizer.from_pretrained(model_folder)
    chosen = [text for text in texts if text][:20 * 8]
    ids = tokenizer(chosen, truncation=True, max_length=64)["input_ids"]
    batches = [ids[i:i + 8] for i in range(0, len(ids), 8)]
    tokens = scratch / "tokens.txt"
    tokens.write_text("".join("".join(" ".join(map(str, text)) + "\n" for text in batch) + "\n" for batch in batches))
    good = True
    before = load_file(model_folder / "model.safetensors")
    for name, dtype in (("double", torch.float64), ("float", torch.float32)):
        out = scratch / f"{name}.safetensors"
        run = subprocess.run([options.probe, "train", str(model_folder), str(tokens), str(out), name], check=True,
                             stdout=subprocess.PIPE, text=True)
        print("our last", run.stdout.strip().split("\n")[-1])
        ours, theirs = load_file(out), train_peer(batches, dtype)
        worst, which, moved = 0.0, "", 0.0
        for key, value in ours.items():
            moved = max(moved, (value - before[key]).abs().max().item())
            if key.endswith("key.bias"):
                continue
            difference = ((value - theirs[key]).abs().max() / theirs[key].abs().max()).item()
            if not difference <= worst:  # NaN, too
                worst, which = difference, key
        good &= report(f"weights after {len(batches)} steps in {name} (moved by {moved:.2g}), worst {which}", worst, 1e-4)
    return good


def main():
    texts = texts_of(options.data, options.texts)
    if len(texts) < options.texts:
        skip(f"{options.data} has only {len(texts)} texts of the {options.texts} wanted; --data names another folder")
    checks = {"vectors": compare_vectors, "export": compare_export, "training": compare_training}
    good = True
    with tempfile.TemporaryDirectory() as folder:
        for name in options.only.split(","):
            good &= checks[name](texts, pathlib.Path(folder))
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
