#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace rondo {

namespace proto {
class Job;
}

/// A job as text: files laid over one another, then assignments; and where each field was said, for messages.
class JobText {
 public:
  JobText();
  ~JobText();

  /// A later file replaces the fields that it names; a repeated field is replaced whole. Throws ConfigError
  /// "file:line:column: what, expected what; did you mean ..." (or kMissingInput).
  void add_file(const std::filesystem::path& path);

  /// "train.steps=200"; strings may go unquoted. Throws ConfigError naming the assignment.
  void assign(const std::string& assignment);

  /// Assigns what follows from another field, unless the job says it itself; `place` is where it comes from.
  void derive(const std::string& field, const std::string& value, const std::string& place);

  /// Whether a file or an assignment named this field.
  bool says(const std::string& field) const { return locations_.contains(field); }

  /// Value of "text.hidden_size" as text, the default where nothing was said; a string comes without quotes. REQUIRES:
  /// a single field of that name.
  std::string value(const std::string& field) const;

  const proto::Job& job() const;

  /// Where "train.steps" was said: "file:line:column", "--set train.steps=200", or the nearest place known of it.
  std::string location(const std::string& field) const;

  /// Runs `validation`, which throws ConfigError that begins with the name of a field of `section` ("train"; empty: the
  /// job itself); throws it again with the place where the field was said in front.
  void located(const std::string& section, const std::function<void()>& validation) const;

  /// The job with all defaults written out; parses to the same job.
  std::string written_out() const;

 private:
  void set(const std::string& assignment, const std::string& place);

  std::unique_ptr<proto::Job> job_;
  std::map<std::string, std::string> locations_;  // field path -> place
};

}  // namespace rondo
