// One reader of foreign files, built once for each with AUTHDB_READER as its name. Whatever the
// bytes are: no crash, every row has one fate, and no token in anything that may be shown.
#include "migrate/formats/format.h"
#include "migrate/formats/hermes.h"
#include "migrate/formats/json_edit.h"
#include "migrate/formats/json_text.h"
#include "migrate/migrate.h"
#include "tests/fuzz/fuzz.h"

namespace authdb::migrate {
namespace {

const Format& format() {
  const Format* known = format_named(AUTHDB_READER);
  if (known == nullptr) std::abort();
  return *known;
}

void check(const Plan& plan) {
  const SourceReport& source = plan.sources.front();
  const auto skipped = static_cast<std::int64_t>(source.skipped.size());
  fuzz::require(source.rows == source.imported + source.merged + source.stale + skipped,
                "every row has exactly one fate");
}

Held held_of(const Row& row) {
  Held held;
  held.row.identity = row.identity;
  held.access_token = row.grant.access_token.clone();
  held.refresh_token = row.grant.refresh_token.clone();
  if (!held.refresh_token.empty()) held.row.refresh_hash = token_hash(held.refresh_token);
  return held;
}

// What is kept of a place is safe to write back, with and without its refresh token.
void write_back(const Row& row) {
  for (const bool with_refresh : {false, true}) {
    auto object = open_text(row.original);
    write_grant(object, {}, held_of(row), {.with_refresh = with_refresh});
    hermes::health_in(object);
  }
}

// The file itself with another grant in each of its places reads as what was put there.
void put_everywhere(std::string_view text, const nlohmann::json& tree, const Row& row) {
  auto changed = tree;
  for (GrantPlace& place : format().places(changed)) place.put(held_of(row), false);
  const auto expected = changed;
  const Secret edited = edited_text(text, std::move(changed));
  const auto read = parse_json(edited.reveal(), "edited");
  fuzz::require(read.has_value() && *read == expected, "an edited file reads as what was put");
}

}  // namespace
}  // namespace authdb::migrate

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace authdb;
  using namespace authdb::migrate;
  const std::string text(fuzz::text_of(data, size));
  auto tree = parse_json(text, "fuzzed");
  if (!tree || !format().recognises(*tree, "fuzzed")) return 0;
  const auto before = *tree;
  std::vector<Document> documents(1);
  documents[0].path = "fuzzed";
  documents[0].profile = "default";
  documents[0].format = format().name;
  format().read(std::move(*tree), documents[0]);
  for (const Row& row : documents[0].rows) write_back(row);
  if (!documents[0].rows.empty()) put_everywhere(text, before, documents[0].rows.front());
  const auto planned = plan(documents, nullptr, {});
  fuzz::require(planned.has_value(), "planning without a store does not fail");
  check(*planned);
  return 0;
}
