#!/usr/bin/env python3
"""Writes unicode_tables.cc from what the Hugging Face `tokenizers` package does with each code point.

The package's Unicode version is its own (parts of it are tables of 2016), so its behaviour is asked for, not a
Unicode database. Usage, with tokenizers 0.23.3 installed:

    python3 trainer/tokenizer/generate_unicode_tables.py trainer/tokenizer/unicode_tables.cc
"""

import sys
import unicodedata

import tokenizers
from tokenizers import normalizers, pre_tokenizers

PINNED = "0.23.3"
DROPPED, SPACE, CJK, PUNCTUATION, MARK, HANGUL = 1, 2, 4, 8, 16, 32
FIRST_HANGUL, LAST_HANGUL = 0xAC00, 0xD7A3
TWO_LETTER_LOWER = 0x130  # The one code point whose lower case is two.

CLEAN = normalizers.BertNormalizer(True, False, False, False)
SPACED = normalizers.BertNormalizer(False, True, False, False)
STRIPPED = normalizers.BertNormalizer(False, False, True, False)
NFD = normalizers.NFD()
LOWER = normalizers.Lowercase()
SPLIT = pre_tokenizers.BertPreTokenizer()


def all_code_points():
    return (c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF)


def flags_of(c):
    text = chr(c)
    clean = CLEAN.normalize_str(text)
    if clean == "":
        return DROPPED
    if clean == " ":
        return SPACE
    assert clean == text, hex(c)
    flags = 0
    if SPACED.normalize_str(text) != text:
        assert SPACED.normalize_str(text) == f" {text} ", hex(c)
        flags |= CJK
    if FIRST_HANGUL <= c <= LAST_HANGUL:
        flags |= HANGUL
    if NFD.normalize_str(text) == text and STRIPPED.normalize_str(text) == "":
        flags |= MARK
    pieces = len(SPLIT.pre_tokenize_str(f"a{text}a"))
    assert pieces in (1, 3), hex(c)
    if pieces == 3:
        flags |= PUNCTUATION
    return flags


def swapped(first, second):
    return first != second and NFD.normalize_str(first + second) == second + first


def reference_marks():
    """One code point for each combining class that the package knows, ascending by class."""
    marks = {1: "\u0334", 240: "\u0345"}
    assert swapped(marks[240], marks[1])
    for c in all_code_points():
        value = unicodedata.combining(chr(c))
        if 1 < value < 240 and value not in marks and len(unicodedata.normalize("NFD", chr(c))) == 1:
            if swapped(chr(c), marks[1]) and swapped(marks[240], chr(c)):
                marks[value] = chr(c)
    marks = dict(sorted(marks.items()))
    ordered = list(marks.values())
    for low, high in zip(ordered, ordered[1:]):
        assert swapped(high, low), (low, high)
    return marks


def combining_class(c, marks):
    """The class of a code point that does not decompose: NFD exchanges it with the references of other classes."""
    if not swapped(c, marks[1]) and not swapped(marks[240], c):
        return 0
    return next(value for value, mark in marks.items() if not swapped(c, mark) and not swapped(mark, c))


def hangul(c):
    index = c - FIRST_HANGUL
    parts = [0x1100 + index // 588, 0x1161 + index % 588 // 28]
    if index % 28:
        parts.append(0x11A7 + index % 28)
    return "".join(map(chr, parts))


def build():
    """records, the record of each code point, and the array that decompositions point into."""
    marks = reference_marks()
    records = {(DROPPED, 0, 0, 0, 0): 0}
    places = [0] * 0x110000
    sequences = []
    for c in all_code_points():
        text = chr(c)
        flags = flags_of(c)
        if flags & (DROPPED | SPACE):
            record = (flags, 0, 0, 0, 0)
        else:
            decomposed = NFD.normalize_str(text)
            start = length = 0
            if flags & HANGUL:
                assert decomposed == hangul(c), hex(c)
            elif decomposed != text:
                start, length = len(sequences), len(decomposed)
                sequences += map(ord, decomposed)
            assert not any(flags_of(ord(part)) & (DROPPED | SPACE) for part in decomposed), hex(c)
            lower = LOWER.normalize_str(text)
            delta = ord(lower[0]) - c
            if c == TWO_LETTER_LOWER:
                assert lower == "i\u0307"
            else:
                assert len(lower) == 1, hex(c)
            record = (flags, combining_class(decomposed[0], marks), delta, start, length)
        places[c] = records.setdefault(record, len(records))
    for c in all_code_points():  # What the splitter relies on: lower case neither makes nor unmakes a word.
        lower = LOWER.normalize_str(chr(c))[0]
        if ord(lower) != c and not flags_of(c) & (DROPPED | SPACE):
            assert (flags_of(c) ^ flags_of(ord(lower))) & ~MARK == 0, hex(c)
    return list(records), places, sequences


def two_stages(places):
    """The smallest pair (first stage, blocks) over block sizes, with the shift."""
    best = None
    for shift in (5, 6, 7, 8):
        size = 1 << shift
        blocks, first = {}, []
        for begin in range(0, len(places), size):
            first.append(blocks.setdefault(tuple(places[begin : begin + size]), len(blocks)))
        cost = len(first) * (1 if len(blocks) <= 256 else 2) + len(blocks) * size * 2
        if best is None or cost < best[0]:
            best = (cost, shift, first, [place for block in blocks for place in block])
    return best[1:]


def lines(values, width=118):
    line = " "
    for value in values:
        word = f" {value},"
        if len(line) + len(word) > width:
            yield line
            line = " "
        line += word
    yield line


def emit(out, records, places, sequences):
    shift, first, second = two_stages(places)
    w = lambda text: print(text, file=out)
    w(f"""// Generated by generate_unicode_tables.py from tokenizers {PINNED}; not edited by hand, outside the line budget.
// clang-format off
#include "trainer/tokenizer/unicode_tables.h"

namespace rondo::unicode {{

static_assert(kBlockShift == {shift});
""")
    first_type = "uint8_t" if max(first) < 256 else "uint16_t"
    for kind, name, values in (
        (first_type, "kBlocks", first),
        ("uint16_t", "kRecordOf", second),
        ("char32_t", "kSequences", sequences),
    ):
        w(f"const {kind} {name}[{len(values)}] = {{")
        for line in lines(values):
            w(line)
        w("};\n")
    w(f"const Record kRecords[{len(records)}] = {{")
    for line in lines(f"{{{','.join(map(str, record))}}}" for record in records):
        w(line)
    w("};\n\n}  // namespace rondo::unicode")
    print(f"shift {shift}, {len(first)} + {len(second)} entries, {len(records)} records, {len(sequences)} in sequences,"
          f" first stage {first_type}")


def main():
    if tokenizers.__version__ != PINNED:
        sys.exit(f"tokenizers {PINNED} expected, {tokenizers.__version__} found")
    with open(sys.argv[1], "w", encoding="ascii") as out:
        emit(out, *build())


if __name__ == "__main__":
    main()
