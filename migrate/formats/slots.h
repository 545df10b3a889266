// The places in a tool's file where OAuth grants stand, and how to put another grant there: the
// tool's own spelling of keys and times is kept, and so is everything else in the file.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "store/credential.h"

namespace authdb::migrate {

// Refers to the tree it was found in.
class Slot {
 public:
  struct Keys {
    const char* access;
    const char* refresh;
  };
  // `tokens` has the grant; `around` what belongs to it and stands beside (may be the same).
  // `needs_a_word`: the tool takes a grant without a refresh token for a damaged one, and gets the
  // word kHeldElsewhere there.
  Slot(std::string place, std::string provider, nlohmann::json& tokens, nlohmann::json& around,
       const Keys& keys, bool needs_a_word)
      : place_(std::move(place)),
        provider_(std::move(provider)),
        tokens_(&tokens),
        around_(&around),
        keys_(&keys),
        needs_a_word_(needs_a_word) {}

  const std::string& place() const { return place_; }  // a JSON pointer
  // Its place is a number then, and another one once its tool has sorted the list.
  bool is_in_a_list() const;
  const std::string& provider() const { return provider_; }
  // Empty if there is none.
  std::string_view access_token() const;
  std::string_view refresh_token() const;

  // Puts the live pair there, or the access token alone: then the refresh token becomes null, or
  // the word. An error mark that was about another access token goes.
  void put(const Held& held, bool with_refresh_token);
  // True if it says of its tokens that they last longer than that.
  bool ends_after(Instant at) const;

 private:
  void put_times(const Credential& row);
  void put_agent_key(const Held& held);
  void lift_verdict();

  std::string place_;
  std::string provider_;
  nlohmann::json* tokens_;
  nlohmann::json* around_;
  const Keys* keys_;
  bool needs_a_word_;
};

// What a clock that was ahead has recorded is put right before it goes into a tool's file: nobody
// knows when such a token ends. It ends now, as far as the tool is told, which so asks again, or
// refreshes, before it relies on it. Without an end it would go on until it is refused.
void doubt_times(Credential& row, Instant now);

// `format` is a reader's name. Empty for a file of a shape that has no grants.
std::vector<Slot> slots_of(nlohmann::json& root, std::string_view format);

// How long before its end the tool that owns such a file refreshes a token of `provider` itself.
Seconds skew_of(std::string_view format, std::string_view provider);

}  // namespace authdb::migrate
