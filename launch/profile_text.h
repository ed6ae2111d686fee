#pragma once

#include <string>
#include <vector>

#include "sharding/plan/hardware_profile.h"

namespace rondo {

/// The profile of a file, or, when there is no such file, of that name among those that the binary carries
/// (configs/profiles/: "cpu", "h100", "a100"). Throws ConfigError with file, line and column, or with the names known.
HardwareProfile load_profile(const std::string& file_or_name);

/// As a file for load_profile. `comment` becomes lines that begin with '#'.
std::string profile_text(const HardwareProfile& profile, const std::string& comment);

/// A profile that was compiled in.
struct BuiltInProfile {
  const char* name;
  const char* text;
};
extern const std::vector<BuiltInProfile> kBuiltInProfiles;  // generated from configs/profiles/

}  // namespace rondo
