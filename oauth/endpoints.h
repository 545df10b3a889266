// Where the tokens of one credential may be sent. The operator's environment wins over what the
// credential has stored, and that over what its provider says; a host that the provider does not
// list gets no token unless the environment named it (DESIGN 7). Read at use, so that a changed
// environment counts at once. Pure but for `environment`; thread-safe.
#pragma once

#include <string>
#include <string_view>

#include "oauth/provider.h"
#include "store/credential.h"
#include "store/result.h"

namespace authdb::oauth {

// A provider's field after the environment has had its say.
struct Setting {
  std::string value;
  std::string variable{};  // which it is from; empty: from the provider
};
// `field` is a name as in providers.json, and one that holds text.
Setting setting(const Provider& provider, std::string_view field, const Environment& environment);

// The client the credential was issued to, else the provider's.
std::string client_id_of(const Provider& provider, const Identity& identity,
                         const Environment& environment);

// The absolute URL of `field`, an endpoint by its name in providers.json. refused, naming the host,
// if a token must not go there; usage if the provider has none.
Result<std::string> endpoint_url(const Provider& provider, const Identity& identity,
                                 const Environment& environment, std::string_view field);
Result<std::string> token_url(const Provider& provider, const Identity& identity,
                              const Environment& environment);
Result<std::string> agent_key_url(const Provider& provider, const Identity& identity,
                                  const Environment& environment);

// May the provider's tokens go to this URL?
Result<void> check_allowed(const Provider& provider, std::string_view url,
                           const Environment& environment);

// A base URL that a credential of the provider has stored, as it may be used: with https where the
// host is right and only the scheme is not. A host that has moved counts as where it went.
Result<std::string> usable_base_url(const Provider& provider, const std::string& url,
                                    const Environment& environment);

// What the bearer is for. An address that a grant has stored and check_allowed() refuses is not
// used. API keys keep theirs.
std::string inference_base_url(const Provider& provider, const Identity& identity,
                               const Environment& environment);

// True if this credential's access tokens are not bearers themselves: agent keys are minted from
// them (Nous era E1). Its refresh tokens travel in the body, too.
bool mints_agent_keys(const Provider& provider, std::string_view scope);

// The PEM file of the authorities to believe: $AUTHDB_CA_FILE, else the credential's, else the
// provider's, else as the curl command has it (curl(1), Environment): $CURL_CA_BUNDLE, else
// $SSL_CERT_FILE. Empty: none. An empty variable is none.
Setting ca_file_of(const Provider& provider, const Identity& identity,
                   const Environment& environment);

// $SSL_CERT_DIR, which counts together with $SSL_CERT_FILE, where nothing comes before that.
Setting ca_directory_of(const Provider& provider, const Identity& identity,
                        const Environment& environment);

}  // namespace authdb::oauth
