#pragma once

#include <string_view>

#include "trainer/data/schema.h"

namespace rondo {

/// Does the filter hold for a field? Orders compare numbers; they hold for no text that is none.
bool holds(const RowFilter& filter, std::string_view field);

/// A finite number, or false.
bool read_number(std::string_view text, double& out);

}  // namespace rondo
