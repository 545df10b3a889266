// Hermes's auth.json of every era, and the two files that lie beside it.
#pragma once

#include <nlohmann/json.hpp>

#include "migrate/document.h"

namespace authdb::migrate::hermes {

// Sources whose secret Hermes only borrows; the newer eras write its fingerprint instead of it.
bool is_env(std::string_view source);
bool is_borrowed(std::string_view source);

// What Hermes calls the fingerprint of a row's secret; empty if there is none. (Hermes looks at an
// agent key first, but a row that has both is not borrowed and never carries a fingerprint.)
std::string secret_fingerprint(const Row& row);

// One credential in the fields of a provider's block, with what lies around it in the file: what
// the files of other tools come down to.
void read_block(const char* where, const char* provider, const char* source, nlohmann::json block,
                nlohmann::json rest, Document& document);

bool recognises_store(const nlohmann::json& root);
void read_store(nlohmann::json root, Document& document);

bool recognises_anthropic(const nlohmann::json& root);
void read_anthropic(nlohmann::json root, Document& document);

bool recognises_shared_nous(const nlohmann::json& root);
void read_shared_nous(nlohmann::json root, Document& document);

}  // namespace authdb::migrate::hermes
