#include "trainer/storage/json_document.h"

#include <nlohmann/json.hpp>

#include "sharding/base/check.h"
#include "sharding/base/error.h"
#include "trainer/storage/file_system.h"

namespace rondo {
namespace {

constexpr int64_t kLargestFile = int64_t{256} << 20;

/// A value as messages show it.
std::string shown(const nlohmann::json& value) {
  constexpr size_t kLongest = 80;
  if (value.is_structured()) return value.type_name();
  const std::string text = value.dump(-1, ' ', /*ensure_ascii=*/true, nlohmann::json::error_handler_t::replace);
  return text.size() > kLongest ? text.substr(0, kLongest) + "..." : text;
}

}  // namespace

std::optional<JsonValue> JsonValue::find(const std::string& member) const {
  if (!value_->is_object()) refuse("an object");
  const auto found = value_->find(member);
  if (found == value_->end() || found->is_null()) return std::nullopt;
  return child(*found, member);
}

JsonValue JsonValue::at(const std::string& member) const {
  auto found = find(member);
  if (!found) throw DataError(concat(*file_, ": ", path_.empty() ? "" : path_ + ".", member, " is missing"));
  return *std::move(found);
}

std::vector<JsonValue> JsonValue::elements() const {
  if (!value_->is_array()) refuse("an array");
  std::vector<JsonValue> result;
  for (const auto& element : *value_) result.push_back(child(element, std::to_string(result.size())));
  return result;
}

std::vector<std::pair<std::string, JsonValue>> JsonValue::members() const {
  if (!value_->is_object()) refuse("an object");
  std::vector<std::pair<std::string, JsonValue>> result;
  for (const auto& [name, value] : value_->items()) result.emplace_back(name, child(value, name));
  return result;
}

bool JsonValue::is_text() const { return value_->is_string(); }

std::string JsonValue::text() const {
  if (!value_->is_string()) refuse("text");
  return value_->get<std::string>();
}

bool JsonValue::flag() const {
  if (!value_->is_boolean()) refuse("true or false");
  return value_->get<bool>();
}

double JsonValue::number() const {
  if (!value_->is_number()) refuse("a number");
  return value_->get<double>();
}

int64_t JsonValue::whole_number(int64_t least, int64_t most) const {
  const bool fits = value_->is_number_integer() &&
                    (!value_->is_number_unsigned() || value_->get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX));
  const int64_t value = fits ? value_->get<int64_t>() : least - 1;
  if (!fits || value < least || value > most) refuse(concat("a whole number from ", least, " to ", most));
  return value;
}

void JsonValue::refuse(const std::string& expected) const {
  throw DataError(
      concat(*file_, ": ", path_, path_.empty() ? "" : ": ", "expected ", expected, ", found ", shown(*value_)));
}

JsonValue JsonValue::child(const nlohmann::json& value, const std::string& name) const {
  return {value, *file_, path_.empty() ? name : path_ + "." + name};
}

JsonDocument::JsonDocument() = default;
JsonDocument::~JsonDocument() = default;
JsonDocument::JsonDocument(JsonDocument&&) noexcept = default;
JsonDocument& JsonDocument::operator=(JsonDocument&&) noexcept = default;

JsonDocument JsonDocument::parse(std::string_view text, const std::string& file) {
  JsonDocument document;
  document.file_ = std::make_unique<std::string>(file);
  try {
    document.value_ = std::make_unique<nlohmann::json>(nlohmann::json::parse(text.begin(), text.end()));
  } catch (const nlohmann::json::parse_error& error) {
    throw DataError(concat(file, ": expected JSON, found something else at byte ", error.byte));
  }
  // The parser takes a NUL for the end.
  if (const size_t nul = text.find('\0'); nul != std::string_view::npos) {
    throw DataError(concat(file, ": expected JSON, found a NUL at byte ", nul));
  }
  return document;
}

JsonDocument JsonDocument::read(const std::filesystem::path& path) {
  return parse(read_file(path, kLargestFile), path.string());
}

JsonValue JsonDocument::root() const { return {*value_, *file_, ""}; }

}  // namespace rondo
