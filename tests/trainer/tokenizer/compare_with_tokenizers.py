#!/usr/bin/env python3
"""Compares our WordPiece with the `tokenizers` package: all code points, random strings, texts of data sets.

    compare_with_tokenizers.py PROBE [--data FOLDER] [--random N] [--peers FOLDER] [--model FOLDER]

--model, a folder with a tokenizer.json (default: minilm in --peers, itself build/peers by default): its tokens are
compared on all of that, by both of its front doors, and with added tokens.

Exit code 77 (skipped) where the package, in the version that the tables are made from, is absent.
"""

import argparse
import gzip
import json
import pathlib
import random
import struct
import subprocess
import sys
import tempfile

PINNED = "0.23.3"
SKIPPED = 77
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]

try:
    import tokenizers
    from tokenizers import normalizers, pre_tokenizers
except ImportError:
    print(f"skipped: the Python package tokenizers {PINNED} is not installed")
    sys.exit(SKIPPED)
if tokenizers.__version__ != PINNED:
    print(f"skipped: tokenizers {tokenizers.__version__} is installed, the tables are made from {PINNED}")
    sys.exit(SKIPPED)

ALL_OPTIONS = [(low, strip, cjk) for low in (1, 0) for strip in (1, 0) for cjk in (1, 0)]


class Probe:
    def __init__(self, path):
        self.path = path

    def lines(self, mode, options, texts, *rest):
        data = b"".join(struct.pack("<I", len(text)) + text for text in texts)
        command = [self.path, mode, *map(str, options), *map(str, rest)]
        out = subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True).stdout
        return out.decode("utf-8").split("\n")[:-1]


def reference_words(options, text):
    low, strip, cjk = map(bool, options)
    normal = normalizers.BertNormalizer(True, cjk, strip, low).normalize_str(text)
    return [word for word, _ in pre_tokenizers.BertPreTokenizer().pre_tokenize_str(normal)]


def compare(what, texts, ours, theirs):
    assert len(ours) == len(theirs) == len(texts), (what, len(ours), len(theirs), len(texts))
    wrong = [i for i in range(len(texts)) if ours[i] != theirs[i]]
    print(f"{what}: {len(texts)} texts, {len(wrong)} differ", flush=True)
    for i in wrong[:5]:
        print(f"  {texts[i]!r}\n    ours   {ours[i]}\n    theirs {theirs[i]}")
    return not wrong


def compare_words(probe, what, texts, all_options):
    good = True
    for options in all_options:
        ours = [line.split(" ")[:-1] for line in probe.lines("words", options, [t.encode() for t in texts])]
        good &= compare(f"words of {what}, options {options}", texts, ours,
                        [reference_words(options, text) for text in texts])
    return good


def code_point_texts():
    return [f"a{chr(c)}b" for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]


def interesting(rng):
    kind = rng.randrange(8)
    if kind < 3:
        return chr(rng.randrange(32, 127))
    if kind == 3:
        return rng.choice(" \t\n\r\v\f\0\x01\x7f\u00a0\u2028\u3000\ufffd\u00ad\ufeff")
    if kind == 4:  # letters with marks, and marks alone
        return chr(rng.randrange(*rng.choice([(0xC0, 0x250), (0x300, 0x370), (0x1E00, 0x2000)])))
    if kind == 5:
        return chr(rng.randrange(*rng.choice([(0x4E00, 0xA000), (0xAC00, 0xD7A4), (0xF900, 0xFB00)])))
    if kind == 6:  # marks that are not non-spacing, of several combining classes
        return rng.choice("\u302e\u302f\u0345\u0334\U0001d165\U0001d16d\U0001d166\u093c\u0f74\u1cf7\u034f\U00016ff0\u0130"
                          "\u03a3\u1e9e")
    c = rng.randrange(0x110000)
    return "x" if 0xD800 <= c <= 0xDFFF else chr(c)


def random_texts(count):
    rng = random.Random(7)
    texts = []
    for i in range(count):
        text = "".join(interesting(rng) for _ in range(rng.randrange(0, 24)))
        if i % 7 == 0:
            at = rng.randrange(len(text) + 1)
            text = text[:at] + rng.choice(SPECIALS + ["[mask]", "[CLS", "[[SEP]]"]) + text[at:]
        if i % 101 == 0:
            text += rng.choice("aé字") * rng.choice([99, 100, 101])
        texts.append(text)
    return texts


def strings_of(value):
    if isinstance(value, str):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for part in parts for text in strings_of(part)]


def data_texts(folder):
    """Every line of every text file, and every string of a line that is JSON."""
    for path in sorted(pathlib.Path(folder).rglob("*")):
        if not path.is_file() or path.suffix not in (".gz", ".csv", ".tsv", ".txt", ".jsonl", ".json"):
            continue
        opened = gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb")
        with opened as file:
            texts = [line.decode("utf-8", "replace") for line in file.read().split(b"\n")]
        if ".json" in path.name:
            for line in list(texts):
                try:
                    texts += strings_of(json.loads(line))
                except ValueError:
                    pass
        # A lone surrogate, which JSON may escape, is no text.
        yield path, [text.encode("utf-8", "replace").decode("utf-8") for text in texts]


def reference_tokenizer(options, vocabulary, max_tokens):
    low, strip, cjk = map(bool, options)
    tokenizer = tokenizers.BertWordPieceTokenizer(str(vocabulary), lowercase=low, strip_accents=strip,
                                                  handle_chinese_chars=cjk)
    if max_tokens:
        tokenizer.enable_truncation(max_tokens)
    return tokenizer


def compare_ids(probe, what, texts, vocabulary, options, max_tokens):
    reference = reference_tokenizer(options, vocabulary, max_tokens)
    theirs = [encoding.ids for encoding in reference.encode_batch(texts)]
    lines = probe.lines("ids", options, [text.encode() for text in texts], vocabulary, max_tokens)
    return compare(f"tokens of {what}, options {options}, max_tokens {max_tokens}", texts,
                   [list(map(int, line.split())) for line in lines], theirs)


def compare_pairs(probe, texts, vocabulary, max_tokens):
    reference = reference_tokenizer((1, 1, 1), vocabulary, max_tokens)
    pairs = list(zip(texts[0::2], texts[1::2]))
    theirs = [encoding.ids for encoding in reference.encode_batch(pairs)]
    flat = [text.encode() for pair in pairs for text in pair]
    lines = probe.lines("pairs", (1, 1, 1), flat, vocabulary, max_tokens)
    return compare(f"pairs, max_tokens {max_tokens}", pairs, [list(map(int, line.split())) for line in lines], theirs)


def invalid_utf8(probe):
    rng = random.Random(11)
    raw = [bytes(rng.choice([rng.randrange(256), 0x61, 0xC3, 0xA9, 0xE4, 0xBD, 0xA0]) for _ in range(12))
           for _ in range(20000)]
    ours = [line.split(" ")[:-1] for line in probe.lines("words", (1, 1, 1), raw)]
    return compare("words of random bytes", raw, ours,
                   [reference_words((1, 1, 1), text.decode("utf-8", "replace")) for text in raw])


def compare_saved(probe, what, texts, path, reference, max_tokens=0):
    reference.no_padding()
    reference.no_truncation()
    if max_tokens:
        reference.enable_truncation(max_tokens)
    theirs = [encoding.ids for encoding in reference.encode_batch(texts)]
    lines = probe.lines("saved", (), [text.encode() for text in texts], path, max_tokens, "-")
    return compare(f"tokens of {what} by {path}, max_tokens {max_tokens}", texts,
                   [list(map(int, line.split())) for line in lines], theirs)


def with_added_tokens(document):
    """Behind the vocabulary, of all kinds; one that stands in the vocabulary."""
    document = json.loads(json.dumps(document))
    id = max(document["model"]["vocab"].values()) + 1
    for content, normalized in (("[e1]", False), ("<x", False), ("Tok", False), ("Token", False), ("\u00e9!", False),
                                ("\u5b57", False), ("Caf\u00e9", True), ("a b", True), ("\u5b57\u5b57", True),
                                ("1.5", True), ("tokenize", True), ("the", True)):
        known = document["model"]["vocab"].get(content)
        document["added_tokens"].append({"id": id if known is None else known, "content": content, "single_word": False,
                                         "lstrip": normalized, "rstrip": False, "normalized": normalized,
                                         "special": not normalized})
        id += known is None
    return document


def sprinkled(texts):
    rng = random.Random(5)
    parts = ["[e1]", "<x", "<X", "Tok", "Token", "token", "\u00e9!", "e\u0301!", "\u5b57", "\u5b57\u5b57", "CAF\u00c9",
             "cafe\u0301", "A  B", "a\tb", "a b", "1.5", "Tokenizer", "the", "The", " ", "[CLS]"]
    return [text[:rng.randrange(len(text) + 1)] + "".join(rng.choice(parts) for _ in range(rng.randrange(1, 6))) + text
            for text in texts]


def compare_model(probe, model, data, count):
    path = model / "tokenizer.json"
    reference = tokenizers.Tokenizer.from_file(str(path))
    texts = random_texts(count)
    good = compare_saved(probe, "all code points", code_point_texts(), path, reference)
    for max_tokens in (0, 5, 128):
        good &= compare_saved(probe, "random strings", texts, path, reference, max_tokens)
    for name, found in data_texts(data) if data else ():
        good &= compare_saved(probe, str(name), found, path, reference)
    document = json.loads(path.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        by_id = sorted(document["model"]["vocab"], key=document["model"]["vocab"].get)
        (folder / "vocab.txt").write_text("\n".join(by_id) + "\n", encoding="utf-8", newline="\n")
        (folder / "tokenizer_config.json").write_text(
            json.dumps({"do_lower_case": document["normalizer"]["lowercase"]}), encoding="utf-8")
        good &= compare_saved(probe, "random strings", texts, folder, reference)
        added = folder / "added.json"
        added.write_text(json.dumps(with_added_tokens(document)), encoding="utf-8")
        good &= compare_saved(probe, "strings with added tokens", sprinkled(texts), added,
                              tokenizers.Tokenizer.from_file(str(added)))
    return good


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("probe")
    parser.add_argument("--data")
    parser.add_argument("--random", type=int, default=100000)
    parser.add_argument("--peers", default="build/peers")
    parser.add_argument("--model")
    arguments = parser.parse_args()
    probe = Probe(arguments.probe)
    model = pathlib.Path(arguments.model or pathlib.Path(arguments.peers) / "minilm")
    some = [(1, 1, 1), (0, 0, 0)]
    good = compare_words(probe, "all code points", code_point_texts(), ALL_OPTIONS if arguments.data else some)
    texts = random_texts(arguments.random)
    good &= compare_words(probe, "random strings", texts, ALL_OPTIONS)
    good &= invalid_utf8(probe)
    with tempfile.TemporaryDirectory() as folder:
        vocabulary = pathlib.Path(folder) / "vocab.txt"
        learned = probe.lines("learn", (1, 1, 1), [text.encode() for text in texts], 8000)
        vocabulary.write_text("\n".join(learned) + "\n", encoding="utf-8", newline="\n")
        for options, max_tokens in (((1, 1, 1), 0), ((1, 1, 1), 7), ((0, 0, 1), 0), ((0, 1, 0), 2)):
            good &= compare_ids(probe, "random strings", texts, vocabulary, options, max_tokens)
        for max_tokens in (0, 3, 8, 11, 20):
            good &= compare_pairs(probe, texts[:20000], vocabulary, max_tokens)
        for path, texts in data_texts(arguments.data) if arguments.data else ():
            learned = probe.lines("learn", (1, 1, 1), [text.encode() for text in texts], 8000)
            vocabulary.write_text("\n".join(learned) + "\n", encoding="utf-8", newline="\n")
            good &= compare_ids(probe, str(path), texts, vocabulary, (1, 1, 1), 64)
    if (model / "tokenizer.json").exists():
        good &= compare_model(probe, model, arguments.data, arguments.random)
    else:
        print(f"no tokenizer.json in {model}: no saved tokenizer was compared")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
