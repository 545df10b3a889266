#include "oauth/discovery.h"

#include <array>
#include <nlohmann/json.hpp>
#include <optional>

#include "oauth/authorities.h"
#include "oauth/endpoints.h"
#include "oauth/provider_fields.h"
#include "oauth/token_answer.h"
#include "oauth/url.h"
#include "store/scrub.h"

namespace authdb::oauth {
namespace {

using Steady = std::chrono::steady_clock;

// For both documents together, and short: others wait for the lock that is held meanwhile.
constexpr Milliseconds kDeadline{8'000};
constexpr std::chrono::hours kGoodFor{24};
constexpr std::array kPublished{"token_endpoint", "authorization_endpoint",
                                "device_authorization_endpoint", "revocation_endpoint"};

// RFC 8414 section 3.1 puts its name between host and path; OpenID Connect appends its own.
std::array<std::string, 2> documents_of(std::string_view issuer) {
  while (!issuer.empty() && issuer.back() == '/') issuer.remove_suffix(1);
  const auto host = issuer.find("://") + 3;
  const auto path = std::min(issuer.find('/', host), issuer.size());
  return {std::string(issuer.substr(0, path)) + "/.well-known/oauth-authorization-server" +
              std::string(issuer.substr(path)),
          std::string(issuer) + "/.well-known/openid-configuration"};
}

ServerMetadata read_metadata(const TokenAnswer& answer) {
  ServerMetadata out;
  for (const char* field : kPublished) {
    if (const auto url = answer.text(field); !url.empty()) out.endpoints[field] = url;
  }
  const auto iss = answer.fields().find("authorization_response_iss_parameter_supported");
  out.iss_in_answers = iss != answer.fields().end() && *iss == true;
  return out;
}

// Whether the login that login_flow() will choose can begin with what the file states.
bool can_begin(const Provider& provider, const Environment& environment, bool in_browser) {
  const auto stated = [&](const char* field) {
    return !setting(provider, field, environment).value.empty();
  };
  const std::string& login = provider.login;
  const bool with_code = in_browser || login == "loopback" || login == "pasted_code";
  const bool device = !with_code && stated("device_authorization_endpoint");
  const bool authorize = (with_code || login.empty()) && stated("authorization_endpoint");
  return stated("token_endpoint") && (device || authorize);
}

std::string said(const Answer& answer) {
  if (answer.http_status == 0) return why_no_answer(answer);
  return "status " + std::to_string(answer.http_status);
}

}  // namespace

Discovery::Discovery(std::shared_ptr<HttpTransport> http, Environment environment, Clock clock)
    : http_(std::move(http)), environment_(std::move(environment)), clock_(std::move(clock)) {}

Result<std::string> Discovery::endpoint(const Provider& provider, const Identity& identity,
                                        std::string_view field) {
  const bool stated = !setting(provider, field, environment_).value.empty();
  const bool published = !setting(provider, "issuer", environment_).value.empty();
  if (stated || !published) return endpoint_url(provider, identity, environment_, field);
  const auto metadata = this->metadata(provider, identity);
  if (!metadata) return fail(metadata.error());
  const auto found = metadata->endpoints.find(field);
  if (found == metadata->endpoints.end()) {
    return fail(Errc::usage, "the issuer of " + provider.id + " publishes no " + std::string(field),
                "If it has one, state it in providers.d/" + provider.id + ".json.");
  }
  const auto allowed = check_allowed(provider, found->second, environment_);
  if (!allowed) return fail(allowed.error());
  return found->second;
}

Result<Provider> Discovery::completed(const Provider& provider, bool in_browser) {
  Provider out = provider;
  const bool published = !setting(provider, "issuer", environment_).value.empty();
  if (!published || can_begin(provider, environment_, in_browser)) return out;
  const auto metadata = this->metadata(provider, {});
  if (!metadata) return fail(metadata.error());
  for (const TextField& field : kTextFields) {
    const auto found = metadata->endpoints.find(field.name);
    if (found == metadata->endpoints.end() || !(out.*field.member).empty()) continue;
    // Judged by what the provider itself lists: once filled in, its host would be listed, too.
    const auto allowed = check_allowed(provider, found->second, environment_);
    if (!allowed) return fail(allowed.error());
    out.*field.member = found->second;
  }
  return out;
}

Result<ServerMetadata> Discovery::metadata(const Provider& provider, const Identity& identity) {
  const std::string issuer = setting(provider, "issuer", environment_).value;
  if (issuer.empty()) return fail(Errc::usage, provider.id + " names no issuer");
  std::optional<Known> known;
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = known_.find(issuer); found != known_.end()) known = found->second;
  }
  const Instant now = clock_();
  if (known && now - known->read_at < kGoodFor) return known->metadata;

  auto fresh = ask(provider, identity, issuer);
  if (!fresh && known && fresh.error().code == Errc::try_later) return known->metadata;
  if (!fresh) return fresh;
  const std::lock_guard lock(mutex_);
  known_[issuer] = {*fresh, now};
  return fresh;
}

Result<ServerMetadata> Discovery::ask(const Provider& provider, const Identity& identity,
                                      const std::string& issuer) const {
  const auto deadline = Steady::now() + kDeadline;
  const auto authorities = authorities_of(provider, identity, environment_);
  if (!authorities) return fail(authorities.error());
  std::string trouble;
  for (const std::string& url : documents_of(issuer)) {
    if (const auto ok = check_allowed(provider, url, environment_); !ok) return fail(ok.error());
    HttpRequest request;
    request.method = "GET";
    request.url = url;
    request.authorities = *authorities;
    request.deadline = std::chrono::duration_cast<Milliseconds>(deadline - Steady::now());
    const Answer answer = http_->perform(request, {});
    const TokenAnswer document(answer);
    const bool found = answer.http_status == 200 && document.is_whole();
    if (!found) {  // a page, or nothing: perhaps the other one is there
      trouble = said(answer);
      if (answer.http_status == 0) break;
      continue;
    }
    // A document that speaks for somebody else could send our tokens there (RFC 8414 section 3.3).
    if (document.text("issuer") != issuer) {
      return fail(Errc::refused,
                  url + " speaks for the issuer \"" + scrub(document.text("issuer")) +
                      "\", not for \"" + issuer + "\" of " + provider.id,
                  "Correct \"issuer\" in providers.d/" + provider.id + ".json: it must be equal.");
    }
    return read_metadata(document);
  }
  return fail(Errc::try_later,
              "the endpoints of " + provider.id + " could not be looked up at its issuer " +
                  issuer + " (" + trouble + ")",
              "Try again, or state token_endpoint in providers.d/" + provider.id + ".json.");
}

}  // namespace authdb::oauth
