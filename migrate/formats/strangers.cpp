#include "migrate/formats/strangers.h"

#include <algorithm>
#include <array>

#include "migrate/formats/format.h"

namespace authdb::migrate {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

bool has_all(const json& root, std::initializer_list<const char*> keys) {
  return std::all_of(keys.begin(), keys.end(), [&](const char* key) { return root.contains(key); });
}

// Some provider's block has one of these.
bool has_block_with(const json& root, std::initializer_list<const char*> keys) {
  const auto blocks = root.find("providers");
  if (blocks == root.end() || !blocks->is_object()) return false;
  return std::any_of(blocks->begin(), blocks->end(), [&](const json& block) {
    return block.is_object() && std::any_of(keys.begin(), keys.end(),
                                            [&](const char* key) { return block.contains(key); });
  });
}

struct Stranger {
  const char* name;
  bool (*is_one)(const json& root, const fs::path& path);
  const char* what_to_do;
};

constexpr const char* kAddKeys =
    "Nothing was taken. Its API keys can be added one by one: `authdb add PROVIDER`; a login of "
    "its "
    "own stays with it.";

constexpr std::array kStrangers{
    Stranger{"Crush's configuration",
             [](const json& root, const fs::path&) {
               return has_block_with(root, {"api_key", "oauth"});
             },
             kAddKeys},
    Stranger{"Cline's providers.json",
             [](const json& root, const fs::path&) { return has_block_with(root, {"settings"}); },
             kAddKeys},
    Stranger{"Cursor's auth.json",
             [](const json& root, const fs::path&) {
               return is_issued_by(root, "https://authentication.cursor.sh");
             },
             "Nothing was taken: its tokens are of use in Cursor alone."},
    Stranger{"a cached login of AWS SSO (the AWS CLI, Kiro)",
             [](const json& root, const fs::path&) {
               return has_all(root, {"accessToken", "expiresAt"}) &&
                      (root.contains("startUrl") || root.contains("clientSecret"));
             },
             "Nothing was taken: `aws sso login` renews it."},
    Stranger{"gcloud's application default credentials",
             [](const json& root, const fs::path&) {
               return has_all(root, {"client_id", "client_secret", "refresh_token", "type"});
             },
             "Nothing was taken: its refresh token is not of single use, and Google's libraries "
             "renew it themselves."},
    Stranger{"Docker's config.json",
             [](const json& root, const fs::path&) {
               return root.contains("auths") || root.contains("credHelpers");
             },
             "Nothing was taken: `docker login` keeps it."},
};

}  // namespace

std::optional<Error> stranger_in(const json& root, const fs::path& path) {
  if (!root.is_object()) return std::nullopt;
  const auto* found =
      std::find_if(kStrangers.begin(), kStrangers.end(),
                   [&](const Stranger& stranger) { return stranger.is_one(root, path); });
  if (found == kStrangers.end()) return std::nullopt;
  return Error{Errc::refused, path.string() + " is " + found->name + ", which authdb does not read",
               found->what_to_do};
}

}  // namespace authdb::migrate
