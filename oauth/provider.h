// Providers are data: oauth/providers.json, extended by the user's providers.d/*.json (DESIGN 7).
#pragma once

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

struct AgentKeyPolicy {
  std::string endpoint;  // absolute, or a path below the credential's portal
  Seconds min_ttl{1800};
};

struct Provider {
  std::string id;
  std::string name;
  std::vector<std::string> aliases;
  std::string issuer;
  std::string token_endpoint;  // absolute, or a path below `portal_base_url`
  std::string device_authorization_endpoint;
  std::string authorization_endpoint;
  std::string revocation_endpoint;
  std::string redirect_uri;
  std::string client_id;
  std::string client_auth = "none";  // none | basic | post
  std::string client_secret_env;
  std::string scope;
  std::string token_body = "form";        // form | json
  std::string refresh_token_in = "body";  // body | header:NAME
  std::map<std::string, std::string> headers;
  Seconds skew{120};
  Seconds lead{300};
  Seconds floor{3600};  // a token's life where the answer does not say
  std::optional<Seconds> reuse_grace;
  std::optional<Seconds> session;
  std::string portal_base_url;
  std::string inference_base_url;
  std::optional<AgentKeyPolicy> agent_key;
  std::vector<std::string> allowed_hosts;
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

  const Provider* find(std::string_view id_or_alias) const;
  // `codex` -> `openai-codex`; anything unknown is returned as it is. Needs no files.
  static std::string canonical_id(std::string_view id_or_alias);
  const std::vector<Provider>& all() const { return providers_; }
  const std::vector<ProviderProblem>& problems() const { return problems_; }

 private:
  std::vector<Provider> providers_;
  std::vector<ProviderProblem> problems_;
};

}  // namespace authdb::oauth
