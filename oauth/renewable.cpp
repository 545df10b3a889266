#include "oauth/renewable.h"

#include <algorithm>

#include "oauth/client_request.h"
#include "oauth/endpoints.h"

namespace authdb::oauth {
namespace {

// The file that may be the provider's and was not taken: the one of its name, else whichever
// there is, or their directory.
std::string file_not_taken(const ProviderRegistry& registry, const std::string& provider) {
  const auto& problems = registry.problems();
  if (problems.empty()) return {};
  auto found = std::find_if(problems.begin(), problems.end(), [&](const ProviderProblem& one) {
    return one.file.stem() == provider;
  });
  if (found == problems.end()) found = problems.begin();
  const std::string field = found->field.empty() ? "" : ": " + found->field;
  return "; " + found->file.string() + field + " " + found->reason;
}

Error not_known(const ProviderRegistry& registry, const std::string& provider) {
  return {Errc::not_found,
          "no provider \"" + provider + "\" is known here that could renew its tokens" +
              file_not_taken(registry, provider),
          "It can be described in " + ProviderRegistry::default_directory().string() + "/" +
              provider + ".json" +
              (registry.problems().empty()
                   ? "."
                   : "; authdb providers shows what is wrong with the files that are there.")};
}

// Nothing is wrong with the request or the login: what is missing can be put right.
Error later(Error error) {
  if (error.code == Errc::usage) error.code = Errc::try_later;
  return error;
}

}  // namespace

std::optional<Error> obstacle_to_renewal(const ProviderRegistry& registry,
                                         const std::string& provider,
                                         const Environment& environment) {
  const Provider* known = registry.find_oauth(provider);
  if (known == nullptr) return not_known(registry, provider);
  const auto secret = client_secret(*known, environment);
  return secret ? std::nullopt : std::optional(later(secret.error()));
}

std::optional<Error> obstacle_to_renewal(const ProviderRegistry& registry, const Identity& identity,
                                         const Environment& environment) {
  if (auto error = obstacle_to_renewal(registry, identity.provider, environment)) return error;
  const Provider& provider = *registry.find_oauth(identity.provider);
  const auto client_id = known_client_id(provider, identity, environment);
  if (!client_id) return later(client_id.error());
  const bool stated = !setting(provider, "token_endpoint", environment).value.empty();
  const auto url = stated ? token_url(provider, identity, environment)
                          : endpoint_url(provider, identity, environment, "issuer");
  return url ? std::nullopt : std::optional(url.error());
}

}  // namespace authdb::oauth
