#pragma once

#include <google/protobuf/message.h>
#include <google/protobuf/text_format.h>

#include <string>
#include <vector>

namespace rondo {

/// Parses `text` into `message`; notes in `tree` (if given) where each field was said. Throws ConfigError
/// "place:line:column: what, expected what; did you mean ...", or "place: ..." where `lines` is false.
void parse_proto(const std::string& text, const std::string& place, bool lines, google::protobuf::Message& message,
                 google::protobuf::TextFormat::ParseInfoTree* tree);

std::vector<std::string> field_names(const google::protobuf::Descriptor& type);

}  // namespace rondo
