#pragma once

#include "trainer/data/schema.h"

namespace rondo {

/// A schema with everything said but the paths.
///
/// kOnlineRetail: "Online Retail" of UCI: cancellations (invoices that begin with C), returns, free goods and rows
///   without customer out; most frequent description as title; invoice as basket; shop time of London.
/// kSequences: one user and its items a line, blank-separated, oldest first; attributes in a JSON object.
SchemaOptions preset_schema(SourcePreset preset);

}  // namespace rondo
