#include "store/sqlite/sealed_column.h"

#include <algorithm>
#include <array>

namespace authdb::sqlite {
namespace {

// `shown_by` is what a row has beside such a cell: where it is there and the cell is not, the cell
// is gone, which is damage. What is removed is wiped, and shows nothing. A cell's key is in its
// bytes 2 to 5. `provider_state` has no rowid; its place is made of its two keys: a profile has few
// providers, and their order does not change while a transaction lasts.
#define AUTHDB_SEALED(table, column, shown_by, row, owner, generation, from)               \
  SealedColumnSql {                                                                        \
#table, #column,                                                                       \
        "SELECT " row ", " owner ", " generation ", " #column " FROM " from                \
        " WHERE coalesce(" #column ", " shown_by ") IS NOT NULL AND substr(" #column       \
        ", 2, 4) IS NOT ?1 AND " row " > ?2 ORDER BY " row " LIMIT ?3",                    \
        "UPDATE " #table " SET " #column " = ?2 WHERE " row " = ?1",                       \
        "SELECT substr(" #column ", 2, 4), count(*) FROM " #table " WHERE length(" #column \
        ") > 5 GROUP BY 1"                                                                 \
  }

constexpr std::array kSql = {
    AUTHDB_SEALED(token_set, access_token, "iif(removed_at IS NULL, access_fingerprint, NULL)",
                  "token_set.credential", "c.uid", "token_set.generation",
                  "token_set JOIN credential c ON c.id = token_set.credential"),
    AUTHDB_SEALED(token_set, refresh_token, "iif(removed_at IS NULL, refresh_hash, NULL)",
                  "token_set.credential", "c.uid", "token_set.generation",
                  "token_set JOIN credential c ON c.id = token_set.credential"),
    AUTHDB_SEALED(agent_key, secret, "fingerprint", "agent_key.credential", "c.uid",
                  "agent_key.from_generation",
                  "agent_key JOIN credential c ON c.id = agent_key.credential"),
    AUTHDB_SEALED(credential, extra, "NULL", "credential.id", "uid", "0", "credential"),
    SealedColumnSql{
        "provider_state", "extra",
        "SELECT place, owner, 0, extra FROM (SELECT row_number() OVER (ORDER BY s.profile, "
        "s.provider) AS place, p.name || '/' || s.provider AS owner, s.extra AS extra "
        "FROM provider_state s JOIN profile p ON p.id = s.profile) "
        "WHERE extra IS NOT NULL AND substr(extra, 2, 4) IS NOT ?1 AND place > ?2 "
        "ORDER BY place LIMIT ?3",
        "UPDATE provider_state SET extra = ?2 WHERE (profile, provider) = (SELECT profile, "
        "provider FROM provider_state ORDER BY profile, provider LIMIT 1 OFFSET ?1 - 1)",
        "SELECT substr(extra, 2, 4), count(*) FROM provider_state WHERE extra IS NOT NULL "
        "GROUP BY 1"},
    AUTHDB_SEALED(import_receipt, unknown, "NULL", "import_receipt.id", "sha256", "0",
                  "import_receipt"),
};

#undef AUTHDB_SEALED

static_assert(kSql.size() == kSealedColumns.size());

}  // namespace

const SealedColumnSql& sql_of(SealedColumn column) {
  return kSql.at(static_cast<std::size_t>(column));
}

bool is_sealed_column(std::string_view table, std::string_view column) {
  return std::any_of(kSql.begin(), kSql.end(), [&](const SealedColumnSql& sealed) {
    return sealed.table == table && sealed.column == column;
  });
}

}  // namespace authdb::sqlite
