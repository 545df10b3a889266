// Which rows of which files are copies of one credential. Pure; linear in the number of rows.
//
// Copies of one grant: equal refresh token, equal access token (which for an API key is the key),
// or equal row id within a provider in different files, if a second fact is equal too; and
// transitively. Within one Hermes home, a provider's block, its side file and the pool row that
// Hermes seeds from them are one slot: each overwrites the other, so at most one of their pairs is
// alive. An id alone proves nothing (clones share ids, and they collide), and neither does an
// account; different accounts disprove an equal id or slot, and so do another issuer and another
// client an equal id.
#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "migrate/formats/document.h"

namespace authdb::migrate {

// One row of one document, as something to compare.
struct Copy {
  std::size_t document = 0;  // index
  const Row* row = nullptr;
  bool reference = false;  // its secret, if it has one, is not taken
  std::optional<TokenHash> refresh;
  std::optional<TokenHash> access;
  std::string fingerprint;  // of its secret as Hermes reckons it, or as the file states it
  std::string principal;    // whom the access token names; empty: nobody, so anybody
};

// Several texts as one, for maps: different ones for different parts.
std::string key_of(std::initializer_list<std::string_view> parts);

// The facts of which one must be equal beside an equal id. Empty ones say nothing.
std::vector<std::string> facts_of(const Identity& identity);
// Both name an issuer or a client, and not the same: no refresh token is of both.
bool other_issuer(const Identity& a, const Identity& b);

// In the order of the documents and their rows.
std::vector<Copy> copies_of(const std::vector<Document>& documents, bool include_env);

// Indices into `copies`; families in the order of their first copy, which is their first index.
std::vector<std::vector<std::size_t>> families_of(const std::vector<Document>& documents,
                                                  const std::vector<Copy>& copies);

}  // namespace authdb::migrate
