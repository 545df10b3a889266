// Hermes's auth.json of every era, and the two files that lie beside it.
#pragma once

#include <nlohmann/json.hpp>

#include "migrate/formats/contents.h"
#include "migrate/formats/document.h"
#include "migrate/formats/grant_place.h"

namespace authdb::migrate::hermes {

// Sources whose secret Hermes only borrows; the newer eras write its fingerprint instead of it.
bool is_env(std::string_view source);
bool is_borrowed(std::string_view source);
// A manager of secrets keeps it (`vault:…`, `pass:…`): it is written into no file, as Hermes does.
bool is_managed_elsewhere(std::string_view source);

// What Hermes calls the fingerprint of a row's secret; empty if there is none. (Hermes looks at an
// agent key first, but a row that has both is not borrowed and never carries a fingerprint.)
std::string secret_fingerprint(const Row& row);

// The source of the pool row that Hermes seeds from the provider's own block or side file; nullptr
// if it has neither.
const char* seeded_source(std::string_view provider);

// One credential in the fields of a provider's block: what the files of other tools come down to.
struct Block {
  std::string where;
  std::string provider;
  const char* source;
  nlohmann::json fields;
  nlohmann::json original;  // as the file has it, masked
};
void read_block(Block block, Document& document);
// Last: what lies around the blocks in such a file.
void keep_rest(nlohmann::json rest, Document& document);

// The health that a pool row states, for comparison: a cooldown only if the row itself has its end.
Health health_in(const nlohmann::json& row);

// How Hermes spells a grant in its auth.json: in a pool's row, or in a provider's own block.
Spelling row_spelling(std::string_view provider);
Spelling block_spelling(std::string_view provider);

// auth.json as its newest era writes it.
Result<nlohmann::json> tree(const Contents& contents, const ExportRequest& request);

}  // namespace authdb::migrate::hermes
