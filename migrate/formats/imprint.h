// One credential as one place of a foreign file spells it, and how to spell it there again.
//
// A place keeps the object as the file had it, with fingerprints where its tokens were. Written
// back it is the same object, in every field and every spelling, as long as the store still holds
// the tokens it had; when they have moved on, what describes them is spelled anew and everything
// else stays. Pure.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "migrate/formats/document.h"
#include "store/credential.h"

namespace authdb::migrate {

// What to leave where a refresh token was: some tools take an absent one for a damaged file.
enum class Instead { nothing, null, word };

// Which fields of a place hold a credential's tokens and times. nullptr: it has no such field.
struct Spelling {
  const char* nest = nullptr;  // the member that holds the tokens
  const char* access = "access_token";
  const char* refresh = "refresh_token";
  const char* obtained = "obtained_at";  // ISO 8601
  const char* expires = "expires_at";    // ISO 8601, or
  bool expires_ms = false;               // epoch milliseconds
  Instead no_refresh = Instead::null;
};

// `format` is a reader's name.
Spelling spelling_of(std::string_view format, std::string_view provider, bool singleton);

// The object with fingerprints for its tokens, agent key included.
nlohmann::json masked(nlohmann::json object, const Spelling& spelling);

struct Writing {
  bool known = true;          // the object is a place that the credential had before
  bool with_refresh = false;  // else there is no refresh token in it afterwards
};

// Puts the tokens and times of `held` into the object.
void write_grant(nlohmann::json& object, const Spelling& spelling, const Held& held,
                 Writing writing);

// Where the tokens go: a place that names addresses, perhaps for tokens it had before, names the
// credential's own instead.
void write_ways(nlohmann::json& object, const Identity& identity);

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
