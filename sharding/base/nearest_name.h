#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace rondo {

/// The candidate that `name` was most likely meant to be (smallest edit distance, ties by order), or an empty string
/// when none is near: more than a third of the longer name, but two typing errors always count as near.
std::string nearest_name(std::string_view name, const std::vector<std::string>& candidates);

/// "; did you mean \"x\"?" for an error message, or nothing.
std::string did_you_mean(std::string_view name, const std::vector<std::string>& candidates);

}  // namespace rondo
