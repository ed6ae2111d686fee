#include "launch/job_text.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/text_format.h>

#include <sstream>

#include "launch/proto_text.h"
#include "proto/job.pb.h"
#include "sharding/base/check.h"
#include "sharding/base/nearest_name.h"
#include "trainer/storage/file_system.h"

namespace rondo {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using google::protobuf::TextFormat;

/// A job is written by hand; anything larger is a mistake.
constexpr uint64_t kLargestJobBytes = 1 << 20;

/// Lays `over` over `base`: fields that it has replace; messages inside are laid over in turn.
void lay_over(const Message& over, Message& base) {
  const Reflection& reflection = *over.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(over, &fields);
  for (const FieldDescriptor* field : fields) {
    if (!field->is_repeated() && field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      lay_over(reflection.GetMessage(over, field), *reflection.MutableMessage(&base, field));
      continue;
    }
    base.GetReflection()->ClearField(&base, field);
    const std::unique_ptr<Message> single(over.New());
    single->CopyFrom(over);
    std::vector<const FieldDescriptor*> others;
    reflection.ListFields(*single, &others);
    for (const FieldDescriptor* other : others) {
      if (other != field) single->GetReflection()->ClearField(single.get(), other);
    }
    base.MergeFrom(*single);
  }
}

/// Notes where each field of `message` was said, under its path.
void note_places(const Message& message, const TextFormat::ParseInfoTree& tree, const std::string& prefix,
                 const std::function<std::string(TextFormat::ParseLocation)>& place,
                 std::map<std::string, std::string>& out) {
  std::vector<const FieldDescriptor*> fields;
  message.GetReflection()->ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    const std::string path = prefix.empty() ? field->name() : prefix + "." + field->name();
    const int count = field->is_repeated() ? message.GetReflection()->FieldSize(message, field) : 1;
    for (int i = 0; i < count; ++i) {
      const int index = field->is_repeated() ? i : -1;
      if (i == 0) out[path] = place(tree.GetLocation(field, index));
      if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) continue;
      const auto& child = field->is_repeated() ? message.GetReflection()->GetRepeatedMessage(message, field, i)
                                               : message.GetReflection()->GetMessage(message, field);
      if (const auto* nested = tree.GetTreeForNested(field, index)) note_places(child, *nested, path, place, out);
    }
  }
}

/// Sets every singular field that has none to its default, so that the text says it.
void write_defaults(Message& message) {
  const Descriptor& type = *message.GetDescriptor();
  const Reflection& reflection = *message.GetReflection();
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor* field = type.field(i);
    if (field->is_repeated()) continue;
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      // A schema that was not given stays away: it has no meaning without its files.
      if (reflection.HasField(message, field) || field->message_type()->name() != "Schema") {
        write_defaults(*reflection.MutableMessage(&message, field));
      }
    } else if (!reflection.HasField(message, field) && field->has_default_value()) {
      std::string value;
      TextFormat::PrintFieldValueToString(message, field, -1, &value);
      TextFormat::ParseFieldValueFromString(value, field, &message);
    }
  }
}

}  // namespace

JobText::JobText() : job_(std::make_unique<proto::Job>()) {}
JobText::~JobText() = default;

void JobText::add_file(const std::filesystem::path& path) {
  std::error_code unreadable;  // then read_file says why
  const auto size = std::filesystem::file_size(path, unreadable);
  if (!unreadable && size > kLargestJobBytes) {
    throw ConfigError(concat(path.string(), ": has ", size, " bytes, expected a job of at most ", kLargestJobBytes));
  }
  const std::string text = read_file(path, kLargestJobBytes);
  proto::Job over;
  TextFormat::ParseInfoTree tree;
  parse_proto(text, path.string(), true, over, &tree);
  lay_over(over, *job_);
  note_places(
      over, tree, "",
      [&](TextFormat::ParseLocation at) { return concat(path.string(), ":", at.line + 1, ":", at.column + 1); },
      locations_);
}

void JobText::assign(const std::string& assignment) { set(assignment, "--set " + assignment); }

void JobText::derive(const std::string& field, const std::string& value, const std::string& place) {
  if (!says(field)) set(field + "=" + value, place);
}

void JobText::set(const std::string& assignment, const std::string& place) {
  const size_t equals = assignment.find('=');
  if (equals == std::string::npos || equals == 0) {
    throw ConfigError(place + ": expected path.to.field=value, for instance train.steps=200");
  }
  std::string open, close;
  const Descriptor* type = proto::Job::descriptor();
  const FieldDescriptor* field = nullptr;
  std::istringstream path(assignment.substr(0, equals));
  for (std::string name; std::getline(path, name, '.');) {
    if (field != nullptr) type = field->message_type();
    if (type == nullptr) throw ConfigError(concat(place, ": \"", field->name(), "\" has no fields of its own"));
    if (field != nullptr) {
      open += field->name() + " { ";
      close += " }";
    }
    field = type->FindFieldByName(name);
    if (field == nullptr) {
      throw ConfigError(
          concat(place, ": unknown field \"", name, "\" in ", type->name(), did_you_mean(name, field_names(*type))));
    }
  }
  std::string value = assignment.substr(equals + 1);
  const bool quoted = !value.empty() && (value.front() == '"' || value.front() == '\'');
  if (field->cpp_type() == FieldDescriptor::CPPTYPE_STRING && !quoted) {
    value = TextFormat::FieldValuePrinter().PrintString(value);
  }
  const bool message = field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE;
  const std::string text = open + field->name() +
                           (message && value.starts_with('{') ? " " + value
                            : message                         ? " { " + value + " }"
                                                              : ": " + value) +
                           close;
  proto::Job over;
  TextFormat::ParseInfoTree tree;
  parse_proto(text, place, false, over, &tree);
  lay_over(over, *job_);
  note_places(over, tree, "", [&](TextFormat::ParseLocation) { return place; }, locations_);
}

std::string JobText::value(const std::string& path) const {
  const Message* message = job_.get();
  const FieldDescriptor* field = nullptr;
  std::istringstream names(path);
  for (std::string name; std::getline(names, name, '.');) {
    if (field != nullptr) message = &message->GetReflection()->GetMessage(*message, field);
    field = message->GetDescriptor()->FindFieldByName(name);
    RONDO_CHECK(field != nullptr && !field->is_repeated(), "field ", path);
  }
  const Reflection& reflection = *message->GetReflection();
  if (field->cpp_type() == FieldDescriptor::CPPTYPE_STRING) return reflection.GetString(*message, field);
  std::string value;
  TextFormat::PrintFieldValueToString(*message, field, -1, &value);
  return value;
}

const proto::Job& JobText::job() const { return *job_; }

std::string JobText::location(const std::string& field) const {
  for (std::string path = field; !path.empty();) {
    if (const auto found = locations_.find(path); found != locations_.end()) return found->second;
    const size_t dot = path.rfind('.');
    path = dot == std::string::npos ? "" : path.substr(0, dot);
  }
  return "job";
}

void JobText::located(const std::string& section, const std::function<void()>& validation) const {
  try {
    validation();
  } catch (const ConfigError& error) {
    const std::string message = error.what();
    const std::string prefix = section.empty() || message.starts_with(section + ".") ? "" : section + ".";
    const std::string field = prefix + message.substr(0, message.find_first_of(" :"));
    throw ConfigError(concat(location(field), ": ", prefix, message), error.exit_code());
  }
}

std::string JobText::written_out() const {
  proto::Job job = *job_;
  write_defaults(job);
  std::string text;
  TextFormat::PrintToString(job, &text);
  return text;
}

}  // namespace rondo
