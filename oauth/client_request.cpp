#include "oauth/client_request.h"

#include <algorithm>

#include "oauth/authorities.h"
#include "oauth/endpoints.h"

namespace authdb::oauth {
namespace {

Error no_client_id(const Provider& provider) {
  const auto variable = provider.env.find("client_id");
  return {Errc::usage, "no client_id is known for " + provider.id,
          variable == provider.env.end()
              ? "Put it into providers.d/" + provider.id + ".json."
              : "Set " + variable->second.substr(0, variable->second.find(',')) + "."};
}

}  // namespace

Result<Secret> client_secret(const Provider& provider, const Environment& environment) {
  if (provider.client_auth == "none") return Secret{};
  Secret secret = Secret::take(environment(provider.client_secret_env).value_or(""));
  if (!secret.empty()) return secret;
  return fail(Errc::usage,
              provider.client_secret_env + ", the client secret of " + provider.id + ", is not set",
              "Set it where authdb runs, in the unit of its timer too.");
}

Result<std::string> known_client_id(const Provider& provider, const Identity& identity,
                                    const Environment& environment) {
  std::string client_id = client_id_of(provider, identity, environment);
  if (client_id.empty()) return fail(no_client_id(provider));
  return client_id;
}

Result<HttpRequest> client_request(const Provider& provider, const Identity& identity,
                                   const Environment& environment, std::string url,
                                   FormFields fields, std::string_view body) {
  const auto client_id = known_client_id(provider, identity, environment);
  if (!client_id) return fail(client_id.error());
  const auto secret = client_secret(provider, environment);
  if (!secret) return fail(secret.error());
  auto authorities = authorities_of(provider, identity, environment);
  if (!authorities) return fail(std::move(authorities.error()));

  HttpRequest request;
  request.url = std::move(url);
  request.authorities = *std::move(authorities);
  for (const auto& [name, value] : provider.headers) {
    request.headers.emplace_back(name, Secret::copy_of(value));
  }
  fields.insert(fields.begin() + std::min<std::ptrdiff_t>(1, std::ssize(fields)),
                {"client_id", *client_id});
  if (provider.client_auth == "post") fields.emplace_back("client_secret", secret->reveal());
  if (provider.client_auth == "basic") {
    request.headers.emplace_back("Authorization", basic_credentials(*client_id, secret->reveal()));
  }
  const bool as_json = body == "json";
  request.headers.emplace_back(
      "Content-Type",
      Secret::copy_of(as_json ? "application/json" : "application/x-www-form-urlencoded"));
  request.body = as_json ? json_body(fields) : form_body(fields);
  return request;
}

}  // namespace authdb::oauth
