#include "trainer/tokenizer/tokenizer_files.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "sharding/base/check.h"
#include "sharding/base/error.h"
#include "trainer/storage/file_system.h"
#include "trainer/storage/json_document.h"

namespace rondo {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kMostEntries = int64_t{1} << 24;
constexpr int64_t kLargestFile = int64_t{256} << 20;

/// A member with the one value that we can do.
void require_text(const JsonValue& object, const std::string& member, const std::string& expected) {
  const JsonValue value = object.at(member);
  if (!value.is_text() || value.text() != expected) value.refuse("\"" + expected + "\"");
}

void require_flag(const JsonValue& object, const std::string& member, bool expected) {
  const auto value = object.find(member);
  if (value && value->flag() != expected) value->refuse(concat(expected ? "true" : "false", " (all that Rondo does)"));
}

bool flag_or(const JsonValue& object, const std::string& member, bool otherwise) {
  const auto value = object.find(member);
  return value ? value->flag() : otherwise;
}

std::optional<bool> optional_flag(const JsonValue& object, const std::string& member) {
  const auto value = object.find(member);
  return value ? std::optional<bool>(value->flag()) : std::nullopt;
}

NormalizerOptions read_normalizer(const JsonValue& normalizer) {
  require_text(normalizer, "type", "BertNormalizer");
  require_flag(normalizer, "clean_text", true);
  return {.lowercase = flag_or(normalizer, "lowercase", true),
          .strip_accents = optional_flag(normalizer, "strip_accents"),
          .handle_chinese_chars = flag_or(normalizer, "handle_chinese_chars", true)};
}

/// The entries by id. A vocabulary with an entry that stands twice has an id without one: a hole.
std::vector<std::string> read_entries(const JsonValue& vocabulary) {
  const auto members = vocabulary.members();
  const auto most = std::min<int64_t>(kMostEntries, 2 * static_cast<int64_t>(members.size()) + 1000);
  std::vector<std::string> entries;
  std::vector<bool> taken;
  for (const auto& [content, value] : members) {
    const auto id = static_cast<size_t>(value.whole_number(0, most - 1));
    if (id >= entries.size()) {
      entries.resize(id + 1);
      taken.resize(id + 1);
    }
    if (taken[id]) value.refuse("an id of its own (\"" + entries[id] + "\" has this one)");
    taken[id] = true;
    entries[id] = content;
  }
  return entries;
}

AddedToken read_added_token(const JsonValue& value) {
  require_flag(value, "single_word", false);
  AddedToken token{value.at("content").text(), flag_or(value, "normalized", false), flag_or(value, "special", false)};
  if (token.content.empty()) value.at("content").refuse("some text");
  return token;
}

/// Puts an added token where it says: upon its entry, or behind all entries.
void place_added_token(const AddedToken& token, const JsonValue& id, std::vector<std::string>& entries) {
  const auto place = static_cast<size_t>(id.whole_number(0, kMostEntries));
  if (place == entries.size()) {
    if (std::find(entries.begin(), entries.end(), token.content) != entries.end()) {
      id.refuse("the id that the vocabulary gives \"" + token.content + "\"");
    }
    entries.push_back(token.content);
  } else if (place > entries.size() || entries[place] != token.content) {
    id.refuse(
        concat("the id that the vocabulary gives \"", token.content, "\", or the next one (", entries.size(), ")"));
  }
}

SavedTokenizer make(std::vector<std::string> entries, size_t pieces, WordPieceOptions options,
                    const std::string& file) {
  if (entries.size() > pieces) options.piece_entries = static_cast<int64_t>(pieces);
  return {Vocabulary(std::move(entries), file), std::move(options)};
}

/// [CLS] and [SEP] around one text or two, as a template writes it.
void check_template(const JsonValue& pieces, bool pair) {
  const std::vector<std::string> expected =
      pair ? std::vector<std::string>{"[CLS]:0", "A:0", "[SEP]:0", "B:1", "[SEP]:1"}
           : std::vector<std::string>{"[CLS]:0", "A:0", "[SEP]:0"};
  std::vector<std::string> found;
  for (const JsonValue& piece : pieces.elements()) {
    const auto special = piece.find("SpecialToken");
    const JsonValue part = special ? *special : piece.at("Sequence");
    found.push_back(concat(part.at("id").text(), ":", part.at("type_id").whole_number(0, 1000)));
  }
  if (found != expected) pieces.refuse(pair ? "[CLS] A [SEP] B [SEP], the last two of type 1" : "[CLS] A [SEP]");
}

void check_post_processor(const JsonValue& processor, const Vocabulary& vocabulary) {
  const auto check_id = [&](const JsonValue& id, const char* token) {
    if (id.whole_number(0, kMostEntries) != vocabulary.find(token)) id.refuse(concat(vocabulary.find(token)));
  };
  if (processor.at("type").text() == "BertProcessing") {
    for (const auto& [member, token] : {std::pair{"cls", "[CLS]"}, std::pair{"sep", "[SEP]"}}) {
      const auto named = processor.at(member).elements();
      if (named.size() != 2 || named[0].text() != token) processor.at(member).refuse(concat(token, " with its id"));
      check_id(named[1], token);
    }
    return;
  }
  require_text(processor, "type", "TemplateProcessing");
  check_template(processor.at("single"), false);
  check_template(processor.at("pair"), true);
  for (const char* token : {"[CLS]", "[SEP]"}) {
    const JsonValue ids = processor.at("special_tokens").at(token).at("ids");
    if (ids.elements().size() != 1) ids.refuse("one id");
    check_id(ids.elements()[0], token);
  }
}

/// A special token of tokenizer_config.json: text, or an object with its content.
void require_special(const JsonValue& config, const char* member, const char* expected) {
  const auto value = config.find(member);
  if (!value) return;
  const JsonValue content = value->is_text() ? *value : value->at("content");
  if (content.text() != expected) content.refuse(concat("\"", expected, "\""));
}

WordPieceOptions options_of_config(const JsonValue& config) {
  require_special(config, "unk_token", "[UNK]");
  require_special(config, "cls_token", "[CLS]");
  require_special(config, "sep_token", "[SEP]");
  WordPieceOptions options;
  options.normalizer = {.lowercase = flag_or(config, "do_lower_case", true),
                        .strip_accents = optional_flag(config, "strip_accents"),
                        .handle_chinese_chars = flag_or(config, "tokenize_chinese_chars", true)};
  return options;
}

/// What beside vocab.txt says of added tokens; without it they are BERT's own.
void add_decoder_tokens(const JsonValue& config, std::vector<std::string>& entries, WordPieceOptions& options) {
  const auto decoder = config.find("added_tokens_decoder");
  if (!decoder) return;
  std::vector<std::pair<int64_t, JsonValue>> by_id;
  for (const auto& [text, value] : decoder->members()) {
    const bool digits = !text.empty() && text.size() < 10 && text.find_first_not_of("0123456789") == std::string::npos;
    if (!digits) value.refuse("an id as its name");
    by_id.emplace_back(std::stoll(text), value);
  }
  std::sort(by_id.begin(), by_id.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  options.added_tokens.emplace();
  for (const auto& [id, value] : by_id) {
    const AddedToken token = read_added_token(value);
    const auto place = static_cast<size_t>(id);
    if (place == entries.size()) entries.push_back(token.content);
    if (place >= entries.size() || entries[place] != token.content) {
      value.refuse(concat("the token that vocab.txt has at ", id, ", or one behind its ", entries.size(), " entries"));
    }
    options.added_tokens->push_back(token);
  }
}

std::vector<std::string> entries_of(const Vocabulary& vocabulary) {
  std::vector<std::string> entries;
  for (int32_t id = 0; id < vocabulary.size(); ++id) entries.push_back(vocabulary.entry(id));
  return entries;
}

SavedTokenizer read_vocabulary_file(const std::filesystem::path& folder, const std::optional<JsonDocument>& config) {
  const auto path = folder / "vocab.txt";
  if (std::filesystem::exists(folder / "added_tokens.json") &&
      !(config && config->root().find("added_tokens_decoder"))) {
    throw DataError(concat(folder.string(), ": added_tokens.json beside vocab.txt does not say how its tokens are ",
                           "found; save the tokenizer with transformers 4.34 or later, which writes tokenizer.json"));
  }
  std::vector<std::string> entries = entries_of(Vocabulary::read(path));
  const size_t pieces = entries.size();
  WordPieceOptions options;
  if (config) {
    options = options_of_config(config->root());
    add_decoder_tokens(config->root(), entries, options);
  }
  return make(std::move(entries), pieces, std::move(options), path.string());
}

/// `model_max_length`, which is a number beyond all reason where nobody set it.
int64_t max_tokens_of(const JsonValue& config) {
  const auto length = config.find("model_max_length");
  if (!length || !(length->number() <= 1e9)) return 0;
  return length->whole_number(2, 1'000'000'000);
}

Json added_token_json(const AddedToken& token, int32_t id) {
  return {{"id", id},        {"content", token.content},       {"single_word", false},    {"lstrip", false},
          {"rstrip", false}, {"normalized", token.normalized}, {"special", token.special}};
}

std::vector<AddedToken> added_tokens_of(const WordPiece& tokenizer) {
  if (tokenizer.options().added_tokens) return *tokenizer.options().added_tokens;
  std::vector<AddedToken> tokens;
  for (const auto& [content, id] : tokenizer.vocabulary().special_ids()) tokens.push_back({content});
  return tokens;
}

Json template_json(const Vocabulary& vocabulary) {
  const auto special = [](const char* token, int type) {
    return Json{{"SpecialToken", {{"id", token}, {"type_id", type}}}};
  };
  const auto sequence = [](const char* name, int type) {
    return Json{{"Sequence", {{"id", name}, {"type_id", type}}}};
  };
  Json specials = Json::object();
  for (const char* token : {"[CLS]", "[SEP]"}) {
    specials[token] = {{"id", token}, {"ids", Json::array({vocabulary.find(token)})}, {"tokens", Json::array({token})}};
  }
  return {{"type", "TemplateProcessing"},
          {"single", {special("[CLS]", 0), sequence("A", 0), special("[SEP]", 0)}},
          {"pair", {special("[CLS]", 0), sequence("A", 0), special("[SEP]", 0), sequence("B", 1), special("[SEP]", 1)}},
          {"special_tokens", specials}};
}

Json strip_accents_json(const NormalizerOptions& options) {
  return options.strip_accents ? Json(*options.strip_accents) : Json(nullptr);
}

Json model_json(const WordPiece& tokenizer) {
  const Vocabulary& vocabulary = tokenizer.vocabulary();
  const int64_t pieces = tokenizer.options().piece_entries;
  Json entries = Json::object();
  std::vector<std::pair<std::string, int32_t>> ordered;
  for (int32_t id = 0; id < (pieces > 0 ? pieces : vocabulary.size()); ++id) {
    if (vocabulary.find(vocabulary.entry(id)) == id) ordered.emplace_back(vocabulary.entry(id), id);
  }
  entries.get_ref<Json::object_t&>().reserve(ordered.size());
  for (auto& [content, id] : ordered) entries.get_ref<Json::object_t&>().push_back({content, id});  // all distinct
  return {{"type", "WordPiece"},
          {"unk_token", "[UNK]"},
          {"continuing_subword_prefix", "##"},
          {"max_input_chars_per_word", tokenizer.options().max_input_chars_per_word},
          {"vocab", std::move(entries)}};
}

}  // namespace

SavedTokenizer parse_tokenizer_json(std::string_view text, const std::string& file) {
  const JsonDocument document = JsonDocument::parse(text, file);
  const JsonValue root = document.root();
  const JsonValue model = root.at("model");
  if (model.find("type")) require_text(model, "type", "WordPiece");
  require_text(model, "unk_token", "[UNK]");
  require_text(model, "continuing_subword_prefix", "##");
  require_text(root.at("pre_tokenizer"), "type", "BertPreTokenizer");
  WordPieceOptions options;
  options.normalizer = read_normalizer(root.at("normalizer"));
  options.max_input_chars_per_word = model.at("max_input_chars_per_word").whole_number(1, INT32_MAX);
  std::vector<std::string> entries = read_entries(model.at("vocab"));
  const size_t pieces = entries.size();
  options.added_tokens.emplace();
  if (const auto tokens = root.find("added_tokens")) {
    for (const JsonValue& value : tokens->elements()) {
      options.added_tokens->push_back(read_added_token(value));
      place_added_token(options.added_tokens->back(), value.at("id"), entries);
    }
  }
  SavedTokenizer saved = make(std::move(entries), pieces, std::move(options), file);
  check_post_processor(root.at("post_processor"), saved.vocabulary);
  return saved;
}

SavedTokenizer read_tokenizer(const std::filesystem::path& folder) {
  std::optional<JsonDocument> config;
  const auto config_path = folder / "tokenizer_config.json";
  if (std::filesystem::exists(config_path)) config = JsonDocument::read(config_path);
  const auto path = folder / "tokenizer.json";
  const bool whole = std::filesystem::exists(path);
  if (!whole && !std::filesystem::exists(folder / "vocab.txt")) {
    throw DataError(concat(folder.string(), " has no tokenizer: tokenizer.json or vocab.txt expected"),
                    ExitCode::kMissingInput);
  }
  SavedTokenizer saved =
      whole ? parse_tokenizer_json(read_file(path, kLargestFile), path.string()) : read_vocabulary_file(folder, config);
  if (config) saved.max_tokens = max_tokens_of(config->root());
  return saved;
}

SavedTokenizer read_tokenizer_at(const std::filesystem::path& path, bool lowercase) {
  if (std::filesystem::is_directory(path)) return read_tokenizer(path);
  if (path.extension() == ".json") return parse_tokenizer_json(read_file(path, kLargestFile), path.string());
  SavedTokenizer saved{Vocabulary::read(path), {}};
  saved.options.normalizer.lowercase = lowercase;
  return saved;
}

std::string tokenizer_json(const WordPiece& tokenizer) {
  const Vocabulary& vocabulary = tokenizer.vocabulary();
  const NormalizerOptions& normalizer = tokenizer.options().normalizer;
  Json added = Json::array();
  for (const AddedToken& token : added_tokens_of(tokenizer)) {
    added.push_back(added_token_json(token, vocabulary.find(token.content)));
  }
  const Json document = {{"version", "1.0"},
                         {"truncation", nullptr},
                         {"padding", nullptr},
                         {"added_tokens", added},
                         {"normalizer",
                          {{"type", "BertNormalizer"},
                           {"clean_text", true},
                           {"handle_chinese_chars", normalizer.handle_chinese_chars},
                           {"strip_accents", strip_accents_json(normalizer)},
                           {"lowercase", normalizer.lowercase}}},
                         {"pre_tokenizer", {{"type", "BertPreTokenizer"}}},
                         {"post_processor", template_json(vocabulary)},
                         {"decoder", {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}}},
                         {"model", model_json(tokenizer)}};
  return document.dump(1) + "\n";
}

std::string tokenizer_config_json(const WordPiece& tokenizer, int64_t max_tokens) {
  const NormalizerOptions& normalizer = tokenizer.options().normalizer;
  Json decoder = Json::object();
  for (const AddedToken& token : added_tokens_of(tokenizer)) {
    const int32_t id = tokenizer.vocabulary().find(token.content);
    Json value = added_token_json(token, id);
    value.erase("id");
    decoder[std::to_string(id)] = std::move(value);
  }
  const Json document = {{"added_tokens_decoder", decoder},
                         {"cls_token", "[CLS]"},
                         {"do_lower_case", normalizer.lowercase},
                         {"mask_token", "[MASK]"},
                         {"model_max_length", max_tokens},
                         {"pad_token", "[PAD]"},
                         {"sep_token", "[SEP]"},
                         {"strip_accents", strip_accents_json(normalizer)},
                         {"tokenize_chinese_chars", normalizer.handle_chinese_chars},
                         {"tokenizer_class", "BertTokenizer"},
                         {"unk_token", "[UNK]"}};
  return document.dump(1) + "\n";
}

}  // namespace rondo
