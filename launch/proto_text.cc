#include "launch/proto_text.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <regex>

#include "sharding/base/check.h"
#include "sharding/base/nearest_name.h"

namespace rondo {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::TextFormat;

/// The messages that `root` may be made of: those of its file and of the files that this imports.
std::vector<const Descriptor*> messages_near(const Descriptor& root) {
  std::vector<const google::protobuf::FileDescriptor*> files{root.file()};
  for (int i = 0; i < root.file()->dependency_count(); ++i) files.push_back(root.file()->dependency(i));
  std::vector<const Descriptor*> types;
  for (const auto* file : files) {
    for (int i = 0; i < file->message_type_count(); ++i) types.push_back(file->message_type(i));
  }
  return types;
}

/// Which values the enumeration takes, for the message about one that it does not. Fields of one name in several
/// messages are all listed: the parser does not say which it was.
std::string expected_values(const std::string& value, const std::string& field_name, const Descriptor& root) {
  std::vector<std::string> names;
  std::string list;
  for (const Descriptor* type : messages_near(root)) {
    const FieldDescriptor* field = type->FindFieldByName(field_name);
    if (field == nullptr || field->enum_type() == nullptr) continue;
    list += concat(list.empty() ? "" : "; ", type->name(), " takes");
    for (int v = 0; v < field->enum_type()->value_count(); ++v) {
      names.push_back(field->enum_type()->value(v)->name());
      list += " " + names.back();
    }
  }
  return (list.empty() ? "" : ": " + list) + did_you_mean(value, names);
}

/// Adds the nearest valid name to what the protobuf parser says of an unknown field or enumeration value.
std::string explain(const std::string& message, const Descriptor& root) {
  static const std::regex kUnknownField("Message type \"([^\"]+)\" has no field named \"([^\"]+)\"");
  static const std::regex kUnknownValue("Unknown enumeration value of \"([^\"]+)\" for field \"([^\"]+)\"");
  std::smatch match;
  if (std::regex_search(message, match, kUnknownField)) {
    const auto* pool = google::protobuf::DescriptorPool::generated_pool();
    const Descriptor* type = pool->FindMessageTypeByName(match[1]);
    if (type == nullptr) return message;
    return concat("unknown field \"", match[2].str(), "\" in ", type->name(),
                  did_you_mean(match[2].str(), field_names(*type)));
  }
  if (std::regex_search(message, match, kUnknownValue)) {
    return concat("unknown value \"", match[1].str(), "\" of field \"", match[2].str(), "\"",
                  expected_values(match[1], match[2], root));
  }
  return message;
}

/// Keeps the first error of a parse.
class FirstError final : public google::protobuf::io::ErrorCollector {
 public:
  explicit FirstError(const Descriptor& root) : root_(root) {}

  void AddError(int line, google::protobuf::io::ColumnNumber column, const std::string& message) override {
    if (!text.empty()) return;
    this->line = line;
    this->column = column;
    text = explain(message, root_);
  }
  int line = 0;    // from 0
  int column = 0;  // from 0
  std::string text;

 private:
  const Descriptor& root_;
};

}  // namespace

std::vector<std::string> field_names(const Descriptor& type) {
  std::vector<std::string> names;
  for (int i = 0; i < type.field_count(); ++i) names.push_back(type.field(i)->name());
  return names;
}

void parse_proto(const std::string& text, const std::string& place, bool lines, google::protobuf::Message& message,
                 TextFormat::ParseInfoTree* tree) {
  FirstError error(*message.GetDescriptor());
  TextFormat::Parser parser;
  parser.RecordErrorsTo(&error);
  parser.WriteLocationsTo(tree);
  parser.SetRecursionLimit(32);
  google::protobuf::io::ArrayInputStream stream(text.data(), static_cast<int>(text.size()));
  if (parser.Parse(&stream, &message)) return;
  const std::string where = lines ? concat(place, ":", error.line + 1, ":", error.column + 1) : place;
  throw ConfigError(where + ": " + error.text);
}

}  // namespace rondo
