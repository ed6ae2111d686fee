#pragma once

#include "trainer/data/schema.h"
#include "trainer/data/split.h"

namespace rondo {

namespace proto {
class Schema;
class Split;
}  // namespace proto

/// The schema of a job: its preset, with what the message says beside it. Not validated.
SchemaOptions schema_from_proto(const proto::Schema& from);

/// Everything written out, so that `schema_from_proto` gives the same options back.
void schema_to_proto(const SchemaOptions& from, proto::Schema& to);

/// Not validated.
SplitOptions split_from_proto(const proto::Split& from);
void split_to_proto(const SplitOptions& from, proto::Split& to);

}  // namespace rondo
