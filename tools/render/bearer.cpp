#include "tools/render/bearer.h"

#include "store/words.h"
#include "tools/render/json.h"

namespace authdb::cli {

std::string_view action_word(Action action) {
  switch (action) {
    case Action::cached:
      return "cached";
    case Action::refreshed:
      return "refreshed";
    case Action::minted:
      return "minted";
    case Action::adopted:
      return "adopted";
    case Action::recovered:
      return "recovered";
  }
  return {};
}

void print_bearer_json(std::ostream& out, const oauth::Bearer& bearer, Instant now, Reveal reveal) {
  Json json;
  json["provider"] = bearer.provider;
  json["credential"] = bearer.credential;
  json["label"] = bearer.label;
  json["profile"] = bearer.profile;
  json["kind"] = word(bearer.kind);
  if (reveal == Reveal::yes) json["token"] = bearer.token.reveal();
  json["token_type"] = bearer.token_type;
  json["fingerprint"] = bearer.fingerprint;
  json["obtained_at"] = to_json(bearer.obtained_at);
  json["expires_at"] = to_json(bearer.expires_at);
  json["expires_in"] =
      bearer.expires_at
          ? Json(std::chrono::duration_cast<Seconds>(*bearer.expires_at - now).count())
          : Json();
  json["base_url"] = or_null(bearer.base_url);
  json["action"] = action_word(bearer.action);
  print_json(out, json);
  if (reveal == Reveal::yes) {
    auto& token = json["token"].get_ref<std::string&>();
    wipe(token.data(), token.size());
  }
}

}  // namespace authdb::cli
