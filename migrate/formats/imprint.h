// The places where a credential stood in the files of tools, as it remembers them.
//
// A place keeps the object as the file had it, with fingerprints where its tokens were. Written
// back it is the same object, in every field and every spelling, as long as the store still holds
// the tokens it had; when they have moved on, write_grant() puts the new ones there and everything
// else stays. Pure.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "migrate/formats/document.h"

namespace authdb::migrate {

// A credential's places as its sealed `extra` remembers them.
struct Imprint {
  std::string profile;
  std::string format;
  std::string where;
  nlohmann::json as;  // masked
};

std::vector<Imprint> imprints_in(const nlohmann::json& extra);
nlohmann::json imprint_json(const Document& document, const Row& row);
// `stored` with the places of `fresh`'s files replaced by `fresh`.
nlohmann::json merged_imprints(nlohmann::json fresh, const nlohmann::json& stored);

// Stored: never rename. In a credential's extra; in what is kept of a file, by place.
inline constexpr const char* kImprints = "imprints";
inline constexpr const char* kNotImported = "not_imported";

}  // namespace authdb::migrate
