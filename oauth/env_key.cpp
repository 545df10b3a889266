#include "oauth/env_key.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "oauth/endpoints.h"
#include "oauth/url.h"
#include "store/env_source.h"
#include "store/fingerprint.h"
#include "store/scrub.h"

namespace authdb::oauth {
namespace {

using nlohmann::json;

// Servers take 8 to 32 KiB of header lines altogether.
constexpr std::size_t kLongestKey = 16 * 1024;

std::string text_in(const json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_string() ? it->get<std::string>() : std::string();
}

// Decides step by step whether the variable may be read as the row's key.
class EnvKey {
 public:
  explicit EnvKey(const EnvKeyRequest& request)
      : request_(request),
        variable_(variable_of(request.row.identity.source).value_or("")),
        shown_(shortened(variable_, kShownLabel)) {
    const json extra = json::parse(request.extra.reveal(), nullptr, false);
    if (!extra.is_object()) return;
    imported_ = text_in(extra, kSecretFingerprint);
    allowed_ = text_in(extra, kAllowedVariable) == variable_;
  }

  Result<Secret> read() const {
    if (!may_hold_key(variable_)) {
      return refused(
          "says that its key is in the environment, but names no variable that may hold "
          "one",
          "Store the key itself: " + add_command() + ".");
    }
    if (!allowed_ && imported_.empty() && !is_providers_own()) {
      return refused("says that its key is in " + shown_ + ", which is none of the variables of " +
                         provider_id() + ": it is not read",
                     "If it is right, " + allow_command() + ". " + or_add());
    }
    if (auto there = check_destination(); !there) return fail(std::move(there.error()));
    return key_in_variable();
  }

 private:
  const std::string& provider_id() const { return request_.row.identity.provider; }

  bool is_providers_own() const {
    if (request_.provider == nullptr) return false;
    const auto& own = request_.provider->api_key_env;
    return std::find(own.begin(), own.end(), variable_) != own.end();
  }

  Result<Secret> key_in_variable() const {
    Secret key = Secret::take(request_.environment(variable_).value_or(""));
    if (key.empty()) {
      return fail(Errc::not_found,
                  request_.name + " is kept in the environment, and " + shown_ + " is not set",
                  "Set " + shown_ + ", or take the credential out: authdb remove " + provider_id() +
                      " " + request_.row.uid);
    }
    if (key.reveal().size() > kLongestKey) {
      return refused("is kept in " + shown_ + ", which is longer than 16 KiB: that is no key",
                     "Set it to the key alone.");
    }
    if (!allowed_ && !imported_.empty() && fingerprint(key) != imported_) {
      return refused(
          "is not handed out: what is in " + shown_ + " is not the key that was imported",
          "If you have changed it yourself, " + allow_command() +
              "; or import the file again once it has the new key. " + or_add());
    }
    return key;
  }

  // Of a provider that nobody knows there is no list; only the user can say that it is right.
  Result<void> check_destination() const {
    Provider unknown;
    unknown.id = provider_id();
    const Provider& provider = request_.provider == nullptr ? unknown : *request_.provider;
    const std::string base =
        inference_base_url(provider, request_.row.identity, request_.environment);
    if (base.empty()) return {};
    auto allowed = check_allowed(provider, base, request_.environment);
    if (allowed) return {};
    const auto url = parse_url(base);
    if (request_.provider != nullptr || !url || !is_secure(*url)) {
      return refused("is not handed out: " + allowed.error().message, allowed.error().hint);
    }
    if (allowed_) return {};
    return refused("is not handed out: no provider " + provider_id() +
                       " is known, so nothing says that its keys may go to " +
                       shortened(url->host, kShownLabel),
                   "If it is right, " + allow_command() + ". " + or_add());
  }

  std::string allow_command() const {
    return "authdb migrate --allow-env " + shown_ +
           " with the file it came from takes whatever the variable holds";
  }
  std::string add_command() const { return "authdb add " + provider_id(); }
  std::string or_add() const { return "Or store the key itself: " + add_command() + "."; }

  tl::unexpected<Error> refused(const std::string& what, std::string hint) const {
    return fail(Errc::refused, request_.name + " " + what, std::move(hint));
  }

  const EnvKeyRequest& request_;
  const std::string variable_;
  const std::string shown_;
  std::string imported_;  // fingerprint of the key; empty: the file had none
  bool allowed_ = false;  // by the user, whatever it holds
};

}  // namespace

Result<Secret> env_key(const EnvKeyRequest& request) { return EnvKey(request).read(); }

}  // namespace authdb::oauth
