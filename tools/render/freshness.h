// Query results by column name, and the view `freshness` as people and scripts want it.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "oauth/provider.h"
#include "store/clock.h"
#include "store/store.h"
#include "tools/render/json.h"
#include "tools/render/table.h"

namespace authdb::cli {

// Its files are read only when it is asked for: they take time.
using Registry = std::function<const oauth::ProviderRegistry&()>;

// One row of any query.
class NamedRow {
 public:
  NamedRow(const QueryRows& rows, std::size_t index) : rows_(&rows), index_(index) {}
  // Empty for NULL, and for a column that is not there.
  std::string text(std::string_view column) const;
  std::optional<std::int64_t> number(std::string_view column) const;
  bool truth(std::string_view column) const { return number(column).value_or(0) != 0; }

 private:
  const Cell* cell(std::string_view column) const;
  const QueryRows* rows_;
  std::size_t index_;
};

// Any result as an array of objects.
Json rows_json(const QueryRows& rows);

// As the view has it, but `profiles` as an array and truths as truths.
Json freshness_json(const QueryRows& rows);

// What only a person can do about it, now or within a day; empty: nothing.
std::string login_warning(const NamedRow& row, Instant now, const Registry& registry);
// How, within a sentence (oauth/login_hint.h).
std::string way_to_log_in(const NamedRow& row, const oauth::ProviderRegistry& registry);
// The profiles that use it.
std::vector<std::string> profiles_of(const NamedRow& row);
// When the bearer was obtained, if a clock that was ahead has said so and it is not over even by
// that; else empty.
std::string obtained_ahead(const NamedRow& row, Instant now);
// The session ends within a day, or within a week and more than half of it is over, or nobody
// knows when; whatever is refreshed until then.
bool session_ends_soon(const NamedRow& row, Instant now);
// `nous credential j2dqmrtbex3a (work)`.
std::string name_of(const NamedRow& row);

Table freshness_table(const QueryRows& rows);

}  // namespace authdb::cli
