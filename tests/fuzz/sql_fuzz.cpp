// Somebody's own SQL: whatever it is, no sealed cell comes out, and nothing is changed.
#include <SQLiteCpp/SQLiteCpp.h>

#include <algorithm>
#include <string>
#include <vector>

#include "store/change.h"
#include "store/store.h"
#include "tests/fuzz/fuzz.h"

namespace authdb {
namespace {

std::string hex(std::string_view bytes) {
  constexpr const char* kDigits = "0123456789ABCDEF";
  std::string out;
  for (const char c : bytes) {
    out += kDigits[static_cast<unsigned char>(c) >> 4];
    out += kDigits[static_cast<unsigned char>(c) & 15];
  }
  return out;
}

StoreOptions place() {
  std::string directory = "/dev/shm/authdb-fuzz-XXXXXX";
  StoreOptions options;
  options.path = std::filesystem::path(::mkdtemp(directory.data())) / "auth.db";
  options.key_file = options.path.parent_path() / "seal.key";
  return options;
}

Change one_of_each() {
  Change change;
  CredentialChange& login = change.credentials.emplace_back();
  login.identity.emplace();
  login.identity->provider = "nous";
  login.identity->label = "fuzzed";
  login.grant.emplace();
  login.grant->access_token = Secret::copy_of("access-token-made-up");
  login.grant->refresh_token = Secret::copy_of("refresh-token-made-up");
  login.agent_key.emplace();
  login.agent_key->secret = Secret::copy_of("agent-key-made-up");
  login.extra = Secret::copy_of("{}");
  return change;
}

Store opened(const StoreOptions& options, OpenMode mode) {
  auto store = Store::open(options, mode);
  if (!store) std::fprintf(stderr, "%s\n", store.error().message.c_str());
  fuzz::require(store.has_value(), "the target can be opened");
  return std::move(*store);
}

// One for all inputs: nothing changes it, which is what is looked for.
class Target {
 public:
  Target() : options_(place()) {
    Store store = opened(options_, OpenMode::create);
    fuzz::require(store.apply(one_of_each()).has_value(), "the target has its credential");
    witness_.emplace(options_.path.string(), SQLite::OPEN_READWRITE);
    for (const char* sql :
         {"SELECT access_token FROM token_set", "SELECT refresh_token FROM token_set",
          "SELECT secret FROM agent_key", "SELECT extra FROM credential"}) {
      sealed_.push_back(witness_->execAndGet(sql).getString());
      sealed_.push_back(hex(sealed_.back()));
    }
    version_ = version();
  }

  void query(const std::string& sql) {
    const Store store = opened(options_, OpenMode::look);
    const auto rows = store.query(sql);
    fuzz::require(version() == version_, "a query changes nothing");
    if (!rows) return fuzz::require(!rows.error().message.empty(), "a refusal says why");
    for (const auto& row : rows->rows) {
      for (const Cell& cell : row) check(cell);
    }
  }

 private:
  void check(const Cell& cell) const {
    const auto* text = std::get_if<std::string>(&cell);
    if (text == nullptr) return;
    for (const std::string& sealed : sealed_) {
      fuzz::require(text->find(sealed) == std::string::npos, "no sealed cell comes out");
    }
  }

  std::string version() { return witness_->execAndGet("PRAGMA data_version").getString(); }

  const StoreOptions options_;
  std::optional<SQLite::Database> witness_;  // sees what others commit
  std::vector<std::string> sealed_;          // the cells as they are, and in hex
  std::string version_;
};

// These may take the whole minute that a query has.
bool is_slow(std::string sql) {
  std::transform(sql.begin(), sql.end(), sql.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return sql.find("recursive") != std::string::npos || sql.find("blob") != std::string::npos;
}

}  // namespace
}  // namespace authdb

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace authdb;
  static Target target;
  const std::string sql(fuzz::text_of(data, size));
  if (!is_slow(sql)) target.query(sql);
  return 0;
}
