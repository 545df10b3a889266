// What the tests of migrate/ share: a directory that goes away, Hermes homes laid out in it, and
// short ways to look at a plan.
#pragma once

#include <gmock/gmock.h>
#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "migrate/migrate.h"
#include "store/fingerprint.h"
#include "store/timestamp.h"

namespace authdb::migrate::testing {

namespace fs = std::filesystem;
using nlohmann::json;

inline std::string contents(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline fs::path sample(const std::string& name) {
  return fs::path(AUTHDB_TEST_DATA) / "samples" / name;
}
inline fs::path nasty(const std::string& name) {
  return fs::path(AUTHDB_TEST_DATA) / "nasty" / name;
}

class TempDir {
 public:
  TempDir() {
    std::string name = (fs::temp_directory_path() / "authdb-migrate-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~TempDir() {
    std::error_code error;
    fs::remove_all(path_, error);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const fs::path& path() const { return path_; }
  fs::path write(const fs::path& name, const std::string& text) const {
    fs::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name, std::ios::binary | std::ios::trunc) << text;
    return path_ / name;
  }
  fs::path write_json(const fs::path& name, const json& tree) const {
    return write(name, tree.dump(2));
  }
  fs::path copy_sample(const std::string& from, const fs::path& to) const {
    return write(to, contents(sample(from)));
  }

 private:
  fs::path path_;
};

inline Instant at(const char* iso) { return parse_iso(iso, NaiveTime::reject)->at; }

// A pool row of an OAuth grant.
inline json grant_row(const std::string& id, const std::string& refresh,
                      const std::string& obtained = {}) {
  json row{{"id", id},
           {"label", id},
           {"auth_type", "oauth"},
           {"priority", 0},
           {"source", "manual:device_code"},
           {"access_token", "at_of_" + refresh},
           {"refresh_token", refresh}};
  if (!obtained.empty()) row["obtained_at"] = obtained;
  return row;
}

inline json key_row(const std::string& id, const std::string& secret,
                    const std::string& source = "manual") {
  return {{"id", id},
          {"label", id},
          {"auth_type", "api_key"},
          {"source", source},
          {"access_token", secret}};
}

// A vector, for `json{row}` is an array of one with GCC and a copy of the row with clang.
inline json pool(const std::string& provider, const std::vector<json>& rows) {
  return {{"version", 1}, {"credential_pool", {{provider, json(rows)}}}};
}

inline const Row* row_at(const Document& document, const std::string& where) {
  const auto it = std::find_if(document.rows.begin(), document.rows.end(),
                               [&](const Row& row) { return row.where == where; });
  return it == document.rows.end() ? nullptr : &*it;
}

inline json extra_of(const Secret& secret) {
  return secret.empty() ? json::object() : json::parse(secret.reveal());
}

inline std::string text(const Secret& secret) { return std::string(secret.reveal()); }

// The change that makes `refresh` the current token of some credential.
inline const CredentialChange* giving(const Plan& plan, const std::string& refresh) {
  for (const auto& change : plan.change.credentials) {
    if (change.grant && change.grant->refresh_token.reveal() == refresh) return &change;
  }
  return nullptr;
}

inline const CredentialChange* keyed(const Plan& plan, const std::string& access) {
  for (const auto& change : plan.change.credentials) {
    if (change.grant && change.grant->access_token.reveal() == access) return &change;
  }
  return nullptr;
}

inline std::vector<std::string> profiles_of(const CredentialChange& change) {
  std::vector<std::string> names;
  for (const auto& binding : change.bindings) names.push_back(binding.profile);
  return names;
}

inline bool retires(const CredentialChange& change, const std::string& refresh) {
  return std::any_of(change.retire.begin(), change.retire.end(), [&](const RetiredHash& retired) {
    return retired.hash == token_hash(refresh) && retired.reason == Retirement::presumed;
  });
}

inline const SourceReport* source_of(const Plan& plan, const fs::path& path) {
  const auto it = std::find_if(plan.sources.begin(), plan.sources.end(),
                               [&](const SourceReport& source) { return source.path == path; });
  return it == plan.sources.end() ? nullptr : &*it;
}

inline MigrateOptions from(std::vector<fs::path> paths) {
  MigrateOptions options;
  options.paths = std::move(paths);
  return options;
}

}  // namespace authdb::migrate::testing
