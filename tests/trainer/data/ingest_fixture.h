#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "sharding/base/error.h"
#include "tests/support/scratch_folder.h"
#include "trainer/data/ingest.h"

namespace rondo::testing {

/// Small sources, the schema that reads them, and what ingest says of them.
class IngestFixture : public ::testing::Test {
 protected:
  IngestFixture() : root_(scratch_.path()) { options_.out = root_ / "dataset"; }

  std::string file(const std::string& name, const std::string& text) {
    std::ofstream(root_ / name, std::ios::binary) << text;
    return root_ / name;
  }

  /// Columns user, item, time and what; of the catalogue item, title, about and genres.
  static SchemaOptions plain_schema(const std::string& events, const std::string& catalog) {
    SchemaOptions schema;
    schema.event_file.paths = {events};
    schema.events.user = "user";
    schema.events.items = {{"item"}};
    schema.events.time = "time";
    schema.events.behaviour = "what";
    if (!catalog.empty()) schema.catalog_file.paths = {catalog};
    schema.catalog = {"item", "title", {"title", "about"}, {{"category", {"genres", "|"}}}};
    return schema;
  }

  DatasetRecord run(const SchemaOptions& schema) {
    SilentProgress progress;
    return ingest(schema, options_, progress);
  }

  template <typename ErrorType, typename Body>
  static std::string message_of(const Body& body, ExitCode code) {
    try {
      body();
    } catch (const ErrorType& error) {
      EXPECT_EQ(error.exit_code(), code) << error.what();
      return error.what();
    }
    ADD_FAILURE() << "nothing thrown";
    return "";
  }

  ScratchFolder scratch_;
  std::filesystem::path root_;
  IngestOptions options_;
};

}  // namespace rondo::testing
