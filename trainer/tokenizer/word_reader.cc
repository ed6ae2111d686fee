#include "trainer/tokenizer/word_reader.h"

#include <algorithm>

#include "sharding/base/check.h"
#include "sharding/base/utf8.h"
#include "trainer/tokenizer/unicode_tables.h"

namespace rondo {

namespace {

constexpr char32_t kDotAbove = 0x307;

char32_t lower(char32_t code_point) {
  return code_point + static_cast<char32_t>(unicode::record(code_point).lower_delta);
}

uint8_t combining_class(char32_t code_point) { return unicode::record(code_point).combining_class; }

}  // namespace

WordRules::WordRules(const NormalizerOptions& options, SpecialTokens special_tokens)
    : lowercase_(options.lowercase),
      strip_accents_(options.strip_accents.value_or(options.lowercase)),
      handle_chinese_chars_(options.handle_chinese_chars),
      special_tokens_(std::move(special_tokens)) {
  for (char32_t c = 0; c < 128; ++c) {
    const uint8_t flags = unicode::record(c).flags;
    ascii_kinds_[c] = (flags & unicode::kDropped) != 0       ? AsciiKind::kDropped
                      : (flags & unicode::kSpace) != 0       ? AsciiKind::kSpace
                      : (flags & unicode::kPunctuation) != 0 ? AsciiKind::kPunctuation
                                                             : AsciiKind::kWord;
    if (ascii_kinds_[c] == AsciiKind::kWord) ascii_letters_[c] = static_cast<char>(lowercase_ ? lower(c) : c);
  }
  for (const auto& [token, id] : special_tokens_) RONDO_CHECK(may_be_special(token), "special token \"", token, '"');
  std::stable_sort(special_tokens_.begin(), special_tokens_.end(),
                   [](const auto& a, const auto& b) { return a.first.size() > b.first.size(); });
}

bool WordRules::may_be_special(std::string_view token) {
  const auto first = static_cast<uint8_t>(token.empty() ? 'a' : token[0]);
  return first < 128 && (unicode::record(first).flags & unicode::kPunctuation) != 0;
}

const WordRules::SpecialTokens::value_type* WordRules::special_at(std::string_view rest) const {
  for (const auto& special : special_tokens_) {
    if (rest.starts_with(special.first)) return &special;
  }
  return nullptr;
}

void WordReader::reset(std::string_view text) {
  at_ = text.data();
  end_ = text.data() + text.size();
  queue_.clear();
  queue_at_ = 0;
}

WordReader::Kind WordReader::next() {
  size_ = 0;
  code_points_ = 0;
  while (true) {
    if (queue_at_ < queue_.size()) {
      if (take_queued()) return Kind::kWord;
      continue;
    }
    if (at_ == end_) return end_of_word();
    const auto byte = static_cast<uint8_t>(*at_);
    if (byte >= 128) {
      read_beyond_ascii();
      continue;
    }
    switch (rules_.ascii_kinds_[byte]) {
      case WordRules::AsciiKind::kWord:
        read_ascii_letters();
        break;
      case WordRules::AsciiKind::kDropped:
        ++at_;
        break;
      case WordRules::AsciiKind::kSpace:
        ++at_;
        if (size_ > 0) return Kind::kWord;
        break;
      case WordRules::AsciiKind::kPunctuation:
        return size_ > 0 ? Kind::kWord : take_ascii_punctuation();
    }
  }
}

void WordReader::normalize(std::string_view text, std::string& out) {
  reset(text);
  out.clear();
  while (at_ != end_) {
    const auto byte = static_cast<uint8_t>(*at_);
    if (byte >= 128) {
      read_beyond_ascii();
      char bytes[4];
      for (; queue_at_ < queue_.size(); ++queue_at_) {
        out.append(bytes, static_cast<size_t>(encode_utf8(queue_[queue_at_], bytes)));
      }
      continue;
    }
    const WordRules::AsciiKind kind = rules_.ascii_kinds_[byte];
    if (kind == WordRules::AsciiKind::kSpace) {
      out += ' ';
    } else if (kind != WordRules::AsciiKind::kDropped) {
      out += kind == WordRules::AsciiKind::kWord ? rules_.ascii_letters_[byte] : *at_;
    }
    ++at_;
  }
}

WordReader::Kind WordReader::take_ascii_punctuation() {
  if (const auto* special = rules_.special_at({at_, static_cast<size_t>(end_ - at_)})) {
    at_ += special->first.size();
    special_ = special->second;
    return Kind::kSpecial;
  }
  append(static_cast<uint8_t>(*at_));
  ++at_;
  return Kind::kWord;
}

void WordReader::read_ascii_letters() {
  reserve(size_ + static_cast<size_t>(end_ - at_));
  const char* at = at_;
  char* out = word_.data() + size_;
  while (at != end_) {
    const char letter = rules_.ascii_letters_[static_cast<uint8_t>(*at)];
    if (letter == 0) break;
    *out++ = letter;
    ++at;
  }
  size_ += static_cast<size_t>(at - at_);
  code_points_ += at - at_;
  at_ = at;
}

/// Takes one code point from the queue, unless it must begin the next word; whether the word is complete.
bool WordReader::take_queued() {
  const char32_t code_point = queue_[queue_at_];
  if (code_point == U' ') {
    ++queue_at_;
    return size_ > 0;
  }
  const bool alone = (unicode::record(code_point).flags & unicode::kPunctuation) != 0;
  if (alone && size_ > 0) return true;
  append(code_point);
  ++queue_at_;
  return alone;
}

/// Puts what the next code point becomes into the queue, which is empty.
void WordReader::read_beyond_ascii() {
  queue_.clear();
  queue_at_ = 0;
  char32_t code_point = 0;
  if (!decode(code_point)) return;
  const uint8_t flags = unicode::record(code_point).flags;
  if ((flags & unicode::kDropped) != 0) return;
  if ((flags & unicode::kSpace) != 0) {
    queue_.push_back(U' ');
    return;
  }
  const bool spaced = rules_.handle_chinese_chars_ && (flags & unicode::kCjk) != 0;
  if (spaced) queue_.push_back(U' ');
  if (!rules_.strip_accents_) {
    queue_.push_back(code_point);
  } else if (decompose(code_point)) {
    gather_marks();
    order_marks();
  }
  if (rules_.lowercase_) lower_queue();
  if (spaced) queue_.push_back(U' ');
}

/// The code point at the cursor. Skips one byte and returns false where the bytes are not UTF-8: what is left of a
/// broken sequence is no UTF-8 either, so that nothing of it stays.
bool WordReader::decode(char32_t& code_point) {
  const int length = decode_utf8(at_, end_ - at_, code_point);
  at_ += std::max(length, 1);
  return length > 0;
}

/// Queues the canonical decomposition without non-spacing marks; whether a mark that could move is left in it.
bool WordReader::decompose(char32_t code_point) {
  const unicode::Record& record = unicode::record(code_point);
  if ((record.flags & unicode::kHangul) != 0) {  // The Unicode Standard, 3.12
    const char32_t index = code_point - 0xAC00;
    queue_.push_back(0x1100 + index / 588);
    queue_.push_back(0x1161 + index % 588 / 28);
    if (index % 28 != 0) queue_.push_back(0x11A7 + index % 28);
    return false;
  }
  if (record.decomposition_length == 0) {
    if ((record.flags & unicode::kMark) != 0) return false;
    queue_.push_back(code_point);
    return record.combining_class != 0;
  }
  bool movable = false;
  for (int i = 0; i < record.decomposition_length; ++i) {
    const char32_t part = unicode::kSequences[record.decomposition + i];
    if ((unicode::record(part).flags & unicode::kMark) != 0) continue;
    queue_.push_back(part);
    movable = movable || combining_class(part) != 0;
  }
  return movable;
}

/// Queues the marks that follow, up to the next code point that none may cross.
void WordReader::gather_marks() {
  while (at_ != end_) {
    const char* before = at_;
    char32_t code_point = 0;
    if (!decode(code_point)) continue;
    const unicode::Record& record = unicode::record(code_point);
    if ((record.flags & unicode::kDropped) != 0) continue;
    if (record.combining_class == 0) {
      at_ = before;
      return;
    }
    decompose(code_point);
  }
}

/// Canonical ordering: each run of marks by combining class, otherwise as they stood.
void WordReader::order_marks() {
  const auto is_starter = [](char32_t c) { return combining_class(c) == 0; };
  auto begin = queue_.begin();
  while (begin != queue_.end()) {
    begin = std::find_if_not(begin, queue_.end(), is_starter);
    const auto end = std::find_if(begin, queue_.end(), is_starter);
    std::stable_sort(begin, end, [](char32_t a, char32_t b) { return combining_class(a) < combining_class(b); });
    begin = end;
  }
}

void WordReader::lower_queue() {
  if (queue_.size() == 1 && queue_[0] == unicode::kTwoLetterLower) {  // Only where accents stay: NFD takes it apart.
    queue_ = {U'i', kDotAbove};
    return;
  }
  for (char32_t& code_point : queue_) code_point = lower(code_point);
}

void WordReader::append(char32_t code_point) {
  reserve(size_ + 4);
  size_ += static_cast<size_t>(encode_utf8(code_point, word_.data() + size_));
  ++code_points_;
}

void WordReader::reserve(size_t bytes) {
  if (bytes > word_.size()) word_.resize(std::max(bytes, 2 * word_.size()));
}

}  // namespace rondo
