#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rondo {

/// One value of a JSON document that somebody else wrote. What asks for another kind of value than it is throws
/// DataError "file: path: expected ..., found ...". A view: the document outlives it.
class JsonValue {
 public:
  /// A member of an object; null counts as absent.
  std::optional<JsonValue> find(const std::string& member) const;
  JsonValue at(const std::string& member) const;

  std::vector<JsonValue> elements() const;                         // of an array
  std::vector<std::pair<std::string, JsonValue>> members() const;  // of an object

  bool is_text() const;
  std::string text() const;
  bool flag() const;
  double number() const;
  int64_t whole_number(int64_t least, int64_t most) const;

  [[noreturn]] void refuse(const std::string& expected) const;

 private:
  friend class JsonDocument;
  JsonValue(const nlohmann::json& value, const std::string& file, std::string path)
      : value_(&value), file_(&file), path_(std::move(path)) {}
  JsonValue child(const nlohmann::json& value, const std::string& name) const;

  const nlohmann::json* value_;
  const std::string* file_;
  std::string path_;  // "normalizer.lowercase"
};

/// A JSON document in memory. Immutable.
class JsonDocument {
 public:
  /// Throws DataError naming `file` if `text` is no JSON.
  static JsonDocument parse(std::string_view text, const std::string& file);

  /// At most 256 MB. Throws DataError (kMissingInput) if there is no such file.
  static JsonDocument read(const std::filesystem::path& path);

  ~JsonDocument();
  JsonDocument(JsonDocument&&) noexcept;
  JsonDocument& operator=(JsonDocument&&) noexcept;

  JsonValue root() const;

 private:
  JsonDocument();
  std::unique_ptr<nlohmann::json> value_;
  std::unique_ptr<std::string> file_;
};

}  // namespace rondo
