#include "migrate/formats/strangers.h"

#include <SQLiteCpp/SQLiteCpp.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "migrate/formats/format.h"
#include "store/files.h"

namespace authdb::migrate {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

bool has_all(const json& root, std::initializer_list<const char*> keys) {
  return std::all_of(keys.begin(), keys.end(), [&](const char* key) { return root.contains(key); });
}

// Some provider's block has one of these.
bool has_block_with(const json& root, std::initializer_list<const char*> keys) {
  const auto blocks = root.find("providers");
  if (blocks == root.end() || !blocks->is_object()) return false;
  return std::any_of(blocks->begin(), blocks->end(), [&](const json& block) {
    return block.is_object() && std::any_of(keys.begin(), keys.end(),
                                            [&](const char* key) { return block.contains(key); });
  });
}

struct Stranger {
  const char* name;
  bool (*is_one)(const json& root, const fs::path& path);
  const char* what_to_do;
};

constexpr const char* kAddKeys =
    "Nothing was taken. Its API keys can be added one by one: `authdb add PROVIDER`; a login of "
    "its "
    "own stays with it.";

constexpr std::array kStrangers{
    Stranger{"Crush's configuration",
             [](const json& root, const fs::path&) {
               return has_block_with(root, {"api_key", "oauth"});
             },
             kAddKeys},
    Stranger{"Cline's providers.json",
             [](const json& root, const fs::path&) { return has_block_with(root, {"settings"}); },
             kAddKeys},
    Stranger{"Cursor's auth.json",
             [](const json& root, const fs::path&) {
               return is_issued_by(root, "https://authentication.cursor.sh");
             },
             "Nothing was taken: its tokens are of use in Cursor alone."},
    Stranger{"a cached login of AWS SSO (the AWS CLI, Kiro)",
             [](const json& root, const fs::path&) {
               return has_all(root, {"accessToken", "expiresAt"}) &&
                      (root.contains("startUrl") || root.contains("clientSecret"));
             },
             "Nothing was taken: `aws sso login` renews it."},
    Stranger{"gcloud's application default credentials",
             [](const json& root, const fs::path&) {
               return has_all(root, {"client_id", "client_secret", "refresh_token", "type"});
             },
             "Nothing was taken: its refresh token is not of single use, and Google's libraries "
             "renew it themselves."},
    Stranger{"Docker's config.json",
             [](const json& root, const fs::path&) {
               return root.contains("auths") || root.contains("credHelpers");
             },
             "Nothing was taken: `docker login` keeps it."},
};

bool is_database(const fs::path& path) {
  constexpr std::string_view kBegin{"SQLite format 3\0", 16};
  const FileToRead file = open_to_read(path);
  if (!file) return false;
  std::array<char, kBegin.size()> bytes{};
  const ssize_t got = ::pread(file.fd.get(), bytes.data(), bytes.size(), 0);
  return got == static_cast<ssize_t>(bytes.size()) &&
         std::string_view(bytes.data(), bytes.size()) == kBegin;
}

// The first column of what it answers. Empty: nothing, or it cannot be asked.
std::vector<std::string> ask(const fs::path& database, const char* query) try {
  constexpr int kMost = 100;
  SQLite::Database db(database.string(), SQLite::OPEN_READONLY, 1'000);
  db.exec("PRAGMA trusted_schema = OFF");
  SQLite::Statement statement(db, query);
  std::vector<std::string> answers;
  for (int n = 0; n < kMost && statement.executeStep(); ++n) {
    answers.push_back(statement.getColumn(0).getString());
  }
  return answers;
} catch (const SQLite::Exception&) {
  return {};
}

struct StrangeDatabase {
  const char* name;
  const char* table;  // which only it has
  const char* what_to_do;
};

constexpr std::array kDatabases{
    StrangeDatabase{"a store of authdb's own", "token_set",
                    "`--store` uses it as it is; `authdb restore` takes over what it has."},
    StrangeDatabase{"OpenClaw's database", "auth_profile_store",
                    "Nothing was taken: OpenClaw goes on refreshing what is in it. `authdb login "
                    "PROVIDER` makes a login of authdb's own."}};

}  // namespace

std::vector<std::string> logins_in_opencode2(const fs::path& path) {
  if (!is_database(path)) return {};
  return ask(path,
             "SELECT DISTINCT integration_id FROM credential WHERE integration_id IS NOT NULL "
             "ORDER BY 1");
}

std::optional<Error> database_at(const fs::path& path) {
  if (!is_database(path)) return std::nullopt;
  std::string logins;
  for (const std::string& name : logins_in_opencode2(path)) {
    logins += (logins.empty() ? "" : ", ") + name;
  }
  if (!logins.empty()) {
    return Error{Errc::refused,
                 path.string() +
                     " is OpenCode 2's database, which authdb does not read; it has "
                     "logins of " +
                     logins,
                 "Nothing was taken: OpenCode goes on refreshing them. `authdb login PROVIDER` "
                 "makes a login of authdb's own, which no other tool spends."};
  }
  const auto tables = ask(path, "SELECT name FROM sqlite_schema WHERE type = 'table'");
  for (const StrangeDatabase& one : kDatabases) {
    if (std::find(tables.begin(), tables.end(), one.table) == tables.end()) continue;
    return Error{Errc::refused,
                 path.string() + " is " + one.name + ", which `authdb migrate` does not read",
                 one.what_to_do};
  }
  return Error{Errc::refused, path.string() + " is an SQLite database without a login that we know",
               "Nothing was taken."};
}

std::optional<Error> stranger_in(const json& root, const fs::path& path) {
  if (!root.is_object()) return std::nullopt;
  const auto* found =
      std::find_if(kStrangers.begin(), kStrangers.end(),
                   [&](const Stranger& stranger) { return stranger.is_one(root, path); });
  if (found == kStrangers.end()) return std::nullopt;
  return Error{Errc::refused, path.string() + " is " + found->name + ", which authdb does not read",
               found->what_to_do};
}

}  // namespace authdb::migrate
