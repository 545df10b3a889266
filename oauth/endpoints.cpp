#include "oauth/endpoints.h"

#include <algorithm>

#include "oauth/provider_fields.h"
#include "oauth/url.h"
#include "store/claims.h"

namespace authdb::oauth {
namespace {

bool matches(std::string_view pattern, std::string_view host) {
  if (!pattern.starts_with("*.")) return pattern == host;
  return host.size() > pattern.size() - 1 && host.ends_with(pattern.substr(1));
}

std::string host_of(std::string_view text) {
  const auto url = parse_url(text);
  return url ? url->host : std::string();
}

bool lists(const Provider& provider, const std::string& host) {
  for (const std::string& pattern : provider.allowed_hosts) {
    if (matches(pattern, host)) return true;
  }
  if (provider.agent_key && host_of(provider.agent_key->endpoint) == host) return true;
  return std::any_of(kTextFields.begin(), kTextFields.end(), [&](const TextField& field) {
    return field.is_endpoint && host_of(provider.*field.member) == host;
  });
}

bool environment_names(const Provider& provider, const std::string& host,
                       const Environment& environment) {
  return std::any_of(kTextFields.begin(), kTextFields.end(), [&](const TextField& field) {
    if (!field.is_endpoint) return false;
    const Setting set = setting(provider, field.name, environment);
    return !set.variable.empty() && host_of(set.value) == host;
  });
}

std::string portal_of(const Provider& provider, const Identity& identity,
                      const Environment& environment) {
  const Setting portal = setting(provider, "portal_base_url", environment);
  const std::string& chosen = !portal.variable.empty() || identity.portal_base_url.empty()
                                  ? portal.value
                                  : identity.portal_base_url;
  const auto moved = provider.moved_hosts.find(host_of(chosen));
  return moved == provider.moved_hosts.end() ? chosen : "https://" + moved->second;
}

constexpr const char* kCertFile = "SSL_CERT_FILE";

Setting variable(const char* name, const Environment& environment) {
  Setting set{environment ? environment(name).value_or("") : ""};
  if (!set.value.empty()) set.variable = name;
  return set;
}

Result<std::string> absolute(const Provider& provider, const Identity& identity,
                             const Environment& environment, const std::string& endpoint) {
  const std::string url = endpoint.starts_with("/")
                              ? join_url(portal_of(provider, identity, environment), endpoint)
                              : endpoint;
  if (const auto allowed = check_allowed(provider, url, environment); !allowed) {
    return fail(allowed.error());
  }
  return url;
}

}  // namespace

Setting setting(const Provider& provider, std::string_view field, const Environment& environment) {
  const auto variables = provider.env.find(std::string(field));
  if (variables != provider.env.end() && environment) {
    // Several variables are aliases; the first that is set wins.
    for (std::string_view rest = variables->second; !rest.empty();) {
      const auto comma = std::min(rest.find(','), rest.size());
      const std::string variable(rest.substr(0, comma));
      const auto value = environment(variable);
      if (value && !value->empty()) return {*value, variable};
      rest.remove_prefix(std::min(comma + 1, rest.size()));
    }
  }
  for (const TextField& known : kTextFields) {
    if (known.name == field) return {provider.*known.member};
  }
  return {};
}

std::string client_id_of(const Provider& provider, const Identity& identity,
                         const Environment& environment) {
  if (!identity.client_id.empty()) return identity.client_id;
  return setting(provider, "client_id", environment).value;
}

Result<void> check_allowed(const Provider& provider, std::string_view url,
                           const Environment& environment) {
  const auto parsed = parse_url(url);
  if (!parsed) {
    return fail(Errc::refused, "an endpoint of " + provider.id + " is not a usable URL",
                "Give it as https://host/path.");
  }
  if (!is_secure(*parsed)) {
    return fail(Errc::refused,
                "the endpoint http://" + parsed->host + " of " + provider.id + " is not encrypted",
                "Only https is used, and http on this machine itself.");
  }
  if (is_loopback(parsed->host) || lists(provider, parsed->host) ||
      environment_names(provider, parsed->host, environment)) {
    return {};
  }
  return fail(Errc::refused,
              "tokens of " + provider.id + " are not sent to " + parsed->host +
                  ", which is none of its hosts",
              "If it is right, add it to \"allowed_hosts\" in providers.d/" + provider.id +
                  ".json, or name it in the environment.");
}

Result<std::string> endpoint_url(const Provider& provider, const Identity& identity,
                                 const Environment& environment, std::string_view field) {
  const std::string endpoint = setting(provider, field, environment).value;
  if (endpoint.empty()) return fail(Errc::usage, provider.id + " has no " + std::string(field));
  return absolute(provider, identity, environment, endpoint);
}

Result<std::string> token_url(const Provider& provider, const Identity& identity,
                              const Environment& environment) {
  return endpoint_url(provider, identity, environment, "token_endpoint");
}

Result<std::string> agent_key_url(const Provider& provider, const Identity& identity,
                                  const Environment& environment) {
  if (!provider.agent_key) return fail(Errc::usage, provider.id + " has no agent keys");
  return absolute(provider, identity, environment, provider.agent_key->endpoint);
}

Result<std::string> usable_base_url(const Provider& provider, const std::string& url,
                                    const Environment& environment) {
  const auto moved = provider.moved_hosts.find(host_of(url));
  const std::string used = moved == provider.moved_hosts.end() ? url : "https://" + moved->second;
  const auto allowed = check_allowed(provider, used, environment);
  if (allowed) return url;
  const auto parsed = parse_url(used);
  if (parsed && parsed->scheme == "http" && parsed->port.empty()) {
    const std::string secure = "https" + used.substr(4);
    if (check_allowed(provider, secure, environment)) return secure;
  }
  return fail(allowed.error());
}

std::string inference_base_url(const Provider& provider, const Identity& identity,
                               const Environment& environment) {
  const Setting set = setting(provider, "inference_base_url", environment);
  if (!set.variable.empty()) return set.value;
  // Of a provider that nobody knows, only the credential tells.
  const bool free = identity.auth_type == AuthType::api_key || provider.id.empty();
  for (const std::string* stored : {&identity.inference_base_url, &identity.base_url}) {
    if (stored->empty()) continue;
    if (free || check_allowed(provider, *stored, environment)) return *stored;
  }
  return set.value;
}

bool mints_agent_keys(const Provider& provider, std::string_view scope) {
  return provider.agent_key && !has_scope(scope, "inference:invoke");
}

Setting ca_file_of(const Provider& provider, const Identity& identity,
                   const Environment& environment) {
  if (Setting set = variable("AUTHDB_CA_FILE", environment); !set.value.empty()) return set;
  if (!identity.ca_file.empty()) return {identity.ca_file};
  if (Setting set = setting(provider, "ca_file", environment); !set.value.empty()) return set;
  if (Setting set = variable("CURL_CA_BUNDLE", environment); !set.value.empty()) return set;
  return variable(kCertFile, environment);
}

Setting ca_directory_of(const Provider& provider, const Identity& identity,
                        const Environment& environment) {
  const Setting file = ca_file_of(provider, identity, environment);
  if (!file.value.empty() && file.variable != kCertFile) return {};
  return variable("SSL_CERT_DIR", environment);
}

}  // namespace authdb::oauth
