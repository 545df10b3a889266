// One reader of foreign files, built once for each with AUTHDB_READER as its name. Whatever the
// bytes are: no crash, every row has one fate, and no token in anything that may be shown.
#include "migrate/formats/hermes.h"
#include "migrate/formats/imprint.h"
#include "migrate/formats/json_text.h"
#include "migrate/formats/readers.h"
#include "migrate/migrate.h"
#include "tests/fuzz/fuzz.h"

namespace authdb::migrate {
namespace {

const Reader& reader() {
  for (const Reader& one : readers()) {
    if (one.format == AUTHDB_READER) return one;
  }
  std::abort();
}

void check(const Plan& plan) {
  const SourceReport& source = plan.sources.front();
  const auto skipped = static_cast<std::int64_t>(source.skipped.size());
  fuzz::require(source.rows == source.imported + source.merged + source.stale + skipped,
                "every row has exactly one fate");
}

// What is kept of a place is safe to write back, with and without its refresh token.
void write_back(const Row& row) {
  Held held;
  held.row.identity = row.identity;
  held.access_token = row.grant.access_token.clone();
  held.refresh_token = row.grant.refresh_token.clone();
  if (!held.refresh_token.empty()) held.row.refresh_hash = token_hash(held.refresh_token);
  for (const bool with_refresh : {false, true}) {
    auto object = open_text(row.original);
    write_grant(object, spelling_of(AUTHDB_READER, row.identity.provider, row.singleton), held,
                {.known = true, .with_refresh = with_refresh});
    hermes::health_in(object);
  }
}

}  // namespace
}  // namespace authdb::migrate

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace authdb;
  using namespace authdb::migrate;
  auto tree = parse_json(fuzz::text_of(data, size), "fuzzed");
  if (!tree || !reader().recognises(*tree)) return 0;
  std::vector<Document> documents(1);
  documents[0].path = "fuzzed";
  documents[0].profile = "default";
  documents[0].format = reader().format;
  reader().read(std::move(*tree), documents[0]);
  for (const Row& row : documents[0].rows) write_back(row);
  const auto planned = plan(documents, nullptr, {});
  fuzz::require(planned.has_value(), "planning without a store does not fail");
  check(*planned);
  return 0;
}
