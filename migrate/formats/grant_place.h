// One place of a tool's file where a grant stands: how the tool spells it, and how to put another
// grant there. What is read, exported, kept supplied, cut over and handed over goes through here.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "store/credential.h"

namespace authdb::migrate {

// What to leave where a refresh token was: some tools take an absent one for a damaged file.
enum class Instead { null, word };

// How a tool spells a grant that it writes anew. One that stands there already keeps its own
// spelling: numbers stay numbers of the same unit, a time in text keeps its offset, and tokens that
// are nested stay nested. nullptr: the tool has no such field.
struct Spelling {
  const char* nest = nullptr;  // the member that holds the tokens
  const char* access = "access_token";
  const char* refresh = "refresh_token";
  const char* obtained = "obtained_at";  // ISO 8601
  const char* expires = "expires_at";    // ISO 8601, or
  bool expires_ms = false;               // epoch milliseconds
  Instead no_refresh = Instead::null;
  bool needs_expiry = false;  // without it the tool takes the grant for expired
};

struct Writing {
  bool with_refresh = false;  // else there is no refresh token in it afterwards
  bool anew = false;          // just made: every field that the tool has is written
  bool restate = false;       // what describes the tokens is written even where they are the same
};

// Puts the grant of `held` into the object: tokens, and where they are others than stood there,
// what describes them. `object` may have fingerprints for its tokens. An error mark that was about
// another access token goes. A reference, which has no tokens, leaves its fingerprint.
void write_grant(nlohmann::json& object, const Spelling& spelling, const Held& held,
                 Writing writing);

// The object with fingerprints for its tokens, agent key included.
nlohmann::json masked(nlohmann::json object, const Spelling& spelling);

// The member that holds the tokens, by the spelling or by what stands there; else the object.
nlohmann::json& tokens_in(nlohmann::json& object, const Spelling& spelling);

// What a clock that was ahead has recorded is put right before it goes into a tool's file: nobody
// knows when such a token ends. It ends now, as far as the tool is told, which so asks again, or
// refreshes, before it relies on it. Without an end it would go on until it is refused.
void doubt_times(Credential& row, Instant now);

// Refers to the tree it was found in.
class GrantPlace {
 public:
  GrantPlace(std::string place, std::string provider, nlohmann::json& object, Spelling spelling)
      : place_(std::move(place)),
        provider_(std::move(provider)),
        object_(&object),
        spelling_(spelling) {}

  const std::string& place() const { return place_; }  // a JSON pointer
  // Its place is a number then, and another one once its tool has sorted the list.
  bool is_in_a_list() const;
  const std::string& provider() const { return provider_; }
  // Empty if there is none.
  std::string_view access_token() const;
  std::string_view refresh_token() const;

  void put(const Held& held, bool with_refresh_token);
  // True if it says of its tokens that they last longer than that.
  bool ends_after(Instant at) const;

 private:
  std::string place_;
  std::string provider_;
  nlohmann::json* object_;
  Spelling spelling_;
};

// A JSON pointer (RFC 6901): `~` and `/` have spellings of their own.
std::string pointer(std::initializer_list<std::string_view> parts);

}  // namespace authdb::migrate
