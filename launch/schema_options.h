#pragma once

#include "trainer/data/schema.h"

namespace rondo {

namespace proto {
class Schema;
}

/// The schema of a job as options; not validated but for single characters. Throws ConfigError naming the field.
SchemaOptions to_schema(const proto::Schema& from);

}  // namespace rondo
