// Providers are data: oauth/providers.json, extended by the user's providers.d/*.json (DESIGN 7).
#pragma once

#include <array>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/clock.h"
#include "store/result.h"
#include "store/token_endpoint.h"

namespace authdb::oauth {

// How one error answer is to be read. Rules are tried in order; absent conditions match anything.
struct ErrorRule {
  std::optional<int> status;
  std::string code;   // the OAuth error code, exactly
  std::string match;  // a part of the description, case-insensitive
  FailureClass failure = FailureClass::transient;
};

// How a login is had: RFC 8628; OpenAI's own device flow, which ends in an authorization code;
// MiniMax's user code; RFC 8252 on loopback; a page that shows a code to be pasted.
inline constexpr std::array<std::string_view, 5> kLogins{
    "device", "codex_device", "minimax_user_code", "loopback", "pasted_code"};

struct AgentKeyPolicy {
  std::string endpoint;  // absolute, or a path below the credential's portal
  Seconds min_ttl{1800};
};

// Every fact of a provider; docs/providers.md describes each field of the file. One that has API
// keys alone has no endpoints, and no client id.
struct Provider {
  std::string id;
  std::string name;
  std::vector<std::string> aliases;
  std::string issuer;
  std::string token_endpoint;  // absolute, or a path below `portal_base_url`
  std::string revocation_endpoint;
  std::string login;  // a word of kLogins; empty: as its endpoints suggest
  std::string device_authorization_endpoint;
  std::string device_token_endpoint;  // where a device login polls; empty: token_endpoint
  std::string verification_uri;       // the page to open, where the device answer names none
  bool device_pkce = false;           // a device login carries a PKCE challenge, too
  std::string authorization_endpoint;
  std::map<std::string, std::string> authorization_params;  // what it wants beyond RFC 6749
  std::string redirect_uri;
  std::string client_id;
  std::string client_auth = "none";  // none | basic | post
  std::string client_secret_env;
  std::vector<std::string> api_key_env;  // variables that hold an API key of this provider
  std::string scope;
  std::string token_body = "form";                   // of a refresh: form | json
  std::map<std::string, std::string> token_body_of;  // ... of credentials whose source ends so
  std::string code_body = "form";                    // of an authorization code's exchange
  std::string revocation_body = "form";
  std::string refresh_token_in = "body";  // body | header:NAME
  std::map<std::string, std::string> headers;
  Seconds skew{120};
  Seconds lead{300};    // what keep-fresh refreshes ahead of time; default: 2 × skew + 60 s
  Seconds floor{3600};  // a token's life where the answer does not say
  std::optional<Seconds> reuse_grace;
  std::optional<Seconds> session;
  std::string portal_base_url;
  std::string inference_base_url;
  std::optional<AgentKeyPolicy> agent_key;
  std::vector<std::string> allowed_hosts;
  std::map<std::string, std::string> moved_hosts;  // hosts that are gone -> where they went
  std::string ca_file;
  std::vector<ErrorRule> errors;
  std::string login_hint;
  std::map<std::string, std::string> env;  // field -> environment variable that overrides it
  std::map<std::string, std::string>
      origin;  // field -> where its value came from, for `providers NAME`
};

// A provider file that was not taken, and why. The other providers still work.
struct ProviderProblem {
  std::filesystem::path file;
  std::string field;  // empty: the file as a whole
  std::string reason;
};

// True if the provider has OAuth logins: there is a token endpoint, or an issuer that names it.
bool has_logins(const Provider& provider);

// Reads the environment; injected so that tests need not change their own.
using Environment = std::function<std::optional<std::string>(const std::string& variable)>;
Environment process_environment();

// The built-in providers and the user's. Immutable once loaded; thread-safe.
class ProviderRegistry {
 public:
  // `directory` need not exist. A file that others can write is a problem, not a provider.
  static ProviderRegistry load(const std::filesystem::path& directory);
  // ${XDG_CONFIG_HOME:-~/.config}/authdb/providers.d
  static std::filesystem::path default_directory();

  // An alias counts where no provider has that id.
  const Provider* find(std::string_view id_or_alias) const;
  // As find(), but nullptr also for a provider that has API keys alone, and nothing to refresh.
  const Provider* find_oauth(std::string_view id_or_alias) const;
  // `codex` -> `openai-codex`; anything unknown is returned as it is. Needs no files. Credentials
  // of a store may have an id that is such an alias: ask for those first.
  static std::string canonical_id(std::string_view id_or_alias);
  const std::vector<Provider>& all() const { return providers_; }
  const std::vector<ProviderProblem>& problems() const { return problems_; }

 private:
  std::vector<Provider> providers_;
  std::vector<ProviderProblem> problems_;
};

}  // namespace authdb::oauth
