#include "tools/prove/invariants.h"

#include <sqlite3.h>

#include <memory>
#include <stdexcept>

namespace authdb::prove {
namespace {

using Row = std::vector<std::string>;

// A stock reader, as the sqlite3 shell is: it takes nothing from authdb's own code.
class Reader {
 public:
  explicit Reader(const std::filesystem::path& path) {
    sqlite3* raw = nullptr;
    const int opened =
        sqlite3_open_v2(path.c_str(), &raw, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOFOLLOW, nullptr);
    database_.reset(raw);
    if (opened != SQLITE_OK) throw std::runtime_error(sqlite3_errmsg(raw));
    sqlite3_busy_timeout(raw, 10'000);
  }

  std::vector<Row> rows(const std::string& sql) {
    std::vector<Row> all;
    char* error = nullptr;
    const int done = sqlite3_exec(database_.get(), sql.c_str(), &Reader::add, &all, &error);
    if (done == SQLITE_OK) return all;
    const std::string text = error != nullptr ? error : "unknown";
    sqlite3_free(error);
    throw std::runtime_error(text);
  }

 private:
  static int add(void* all, int columns, char** values, char**) {
    Row row;
    for (int i = 0; i < columns; ++i) row.emplace_back(values[i] != nullptr ? values[i] : "");
    static_cast<std::vector<Row>*>(all)->push_back(std::move(row));
    return 0;
  }

  struct Close {
    void operator()(sqlite3* database) const { sqlite3_close(database); }
  };
  std::unique_ptr<sqlite3, Close> database_;
};

struct Invariant {
  const char* sentence;
  const char* offenders;  // a query that finds those who break it
};

constexpr Invariant kInvariants[] = {
    {"the file is sound", "SELECT quick_check FROM pragma_quick_check WHERE quick_check <> 'ok'"},
    {"no reference leads nowhere", "SELECT \"table\" FROM pragma_foreign_key_check"},
    {"no current token is a retired one",
     "SELECT credential.uid FROM token_set JOIN retired_token USING (refresh_hash) "
     "JOIN credential ON credential.id = token_set.credential"},
    {"a rotation adds one to the generation",
     "SELECT uid, from_generation, to_generation FROM attempt JOIN credential ON credential.id = "
     "credential WHERE kind = 'refresh' AND outcome IN ('committed', 'recovered') "
     "AND to_generation <> from_generation + 1"},
    {"no generation is behind what the ledger has seen",
     "SELECT uid, token_set.generation, max(to_generation) FROM attempt "
     "JOIN token_set USING (credential) JOIN credential ON credential.id = attempt.credential "
     "GROUP BY attempt.credential HAVING max(to_generation) > token_set.generation"},
    {"no token has two known successors",
     "SELECT hex(refresh_hash), count(*) FROM attempt WHERE kind = 'refresh' AND refresh_hash IS "
     "NOT NULL AND outcome IN ('committed', 'recovered') GROUP BY refresh_hash HAVING count(*) > "
     "1"},
    {"each credential has its tokens",
     "SELECT uid FROM credential WHERE id NOT IN (SELECT credential FROM token_set)"},
};

std::string joined(const Row& row) {
  std::string text;
  for (const auto& cell : row) text += (text.empty() ? "" : ", ") + cell;
  return text;
}

std::int64_t number(const std::string& cell) { return cell.empty() ? 0 : std::stoll(cell); }

}  // namespace

std::vector<LedgerRow> ledger_of(const Home& home) {
  std::vector<LedgerRow> all;
  const auto rows = Reader(home.store())
                        .rows(
                            "SELECT lower(substr(hex(refresh_hash), 1, 16)), kind, outcome, "
                            "error_code, pid, started_at, finished_at, family, from_generation, "
                            "http_status FROM attempt ORDER BY id");
  for (const Row& row : rows) {
    all.push_back({row[0].empty() ? "" : "sha256:" + row[0], row[1], row[2], row[3], number(row[4]),
                   number(row[5]), number(row[6]), number(row[7]), number(row[8]),
                   static_cast<int>(number(row[9]))});
  }
  return all;
}

std::string quick_check(const std::filesystem::path& database) try {
  return joined(Reader(database).rows("PRAGMA quick_check(1)").at(0));
} catch (const std::runtime_error& error) {
  return error.what();
}

std::vector<std::string> check_store(const Home& home) {
  std::vector<std::string> violations;
  try {
    Reader reader(home.store());
    for (const Invariant& invariant : kInvariants) {
      for (const Row& row : reader.rows(invariant.offenders)) {
        violations.push_back("broken: " + std::string(invariant.sentence) + " (" + joined(row) +
                             ")");
      }
    }
  } catch (const std::runtime_error& error) {
    violations.push_back("the database cannot be read: " + std::string(error.what()));
  }
  return violations;
}

}  // namespace authdb::prove
