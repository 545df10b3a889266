#include "oauth/authorization.h"

#include <sodium.h>

#include <array>

#include "oauth/classify.h"
#include "oauth/client_request.h"
#include "oauth/discovery.h"
#include "oauth/endpoints.h"
#include "store/fingerprint.h"
#include "store/scrub.h"

namespace authdb::oauth {
namespace {

using namespace std::chrono_literals;

constexpr int kTries = 3;
constexpr Milliseconds kDeadline{15'000};

std::vector<char> base64url(const unsigned char* bytes, std::size_t size) {
  constexpr int kVariant = sodium_base64_VARIANT_URLSAFE_NO_PADDING;
  std::vector<char> text(sodium_base64_encoded_len(size, kVariant));
  sodium_bin2base64(text.data(), text.size(), bytes, size, kVariant);
  text.pop_back();  // sodium's terminator
  return text;
}

std::vector<char> random_text() {
  std::array<unsigned char, 32> random{};
  randombytes_buf(random.data(), random.size());
  std::vector<char> text = base64url(random.data(), random.size());
  wipe(random.data(), random.size());
  return text;
}

std::string_view value_of(const Query& query, std::string_view name) {
  const auto found = query.find(name);
  return found == query.end() ? std::string_view() : std::string_view(found->second);
}

// Whether the issuer publishes that its answers have `iss` (RFC 9207 section 3). One that cannot be
// asked has published nothing.
bool names_itself(const LoginParts& parts) {
  Discovery discovery(parts.http, parts.environment, parts.clock);
  const auto metadata = discovery.metadata(*parts.provider, {});
  return metadata && metadata->iss_in_answers;
}

}  // namespace

Pkce draw_pkce() {
  Pkce pkce;
  pkce.verifier = Secret(random_text());
  const TokenHash hash = token_hash(pkce.verifier);
  const std::vector<char> challenge = base64url(hash.data(), hash.size());
  pkce.challenge.assign(challenge.begin(), challenge.end());
  return pkce;
}

std::string draw_state() {
  const std::vector<char> text = random_text();
  return {text.begin(), text.end()};
}

std::string with_query(std::string url, const FormFields& fields) {
  url += url.find('?') == std::string::npos ? '?' : '&';
  const Secret query = form_body(fields);
  return url.append(query.reveal());
}

std::optional<Query> parse_query(std::string_view text) {
  Query query;
  while (!text.empty()) {
    const auto end = std::min(text.find('&'), text.size());
    const std::string_view pair = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (pair.empty()) continue;
    const auto equals = std::min(pair.find('='), pair.size());
    auto name = form_decoded(pair.substr(0, equals));
    auto value = form_decoded(pair.substr(std::min(equals + 1, pair.size())));
    if (!name || !value || !query.emplace(*std::move(name), *std::move(value)).second) {
      return std::nullopt;
    }
  }
  return query;
}

Result<std::string> authorization_url(const LoginParts& parts, const Authorization& authorization) {
  const Identity identity = identity_of(parts);
  auto url = endpoint_url(*parts.provider, identity, parts.environment, "authorization_endpoint");
  if (!url) return fail(url.error());
  const auto client_id = known_client_id(*parts.provider, identity, parts.environment);
  if (!client_id) return fail(client_id.error());
  FormFields fields{{"response_type", "code"},
                    {"client_id", *client_id},
                    {"redirect_uri", authorization.redirect_uri}};
  if (!identity.scope.empty()) fields.emplace_back("scope", identity.scope);
  fields.emplace_back("state", authorization.state);
  fields.emplace_back("code_challenge", authorization.pkce.challenge);
  fields.emplace_back("code_challenge_method", "S256");
  for (const auto& [name, value] : parts.provider->authorization_params) {
    fields.emplace_back(name, value);
  }
  return with_query(*std::move(url), fields);
}

Result<void> check_issuer(const LoginParts& parts, const Query& query) {
  const auto sent = query.find("iss");
  const std::string expected = setting(*parts.provider, "issuer", parts.environment).value;
  if (sent == query.end() && (expected.empty() || !names_itself(parts))) return {};
  if (sent == query.end()) {
    return fail(Errc::refused,
                "the answer to the login does not say that it came from " + expected +
                    ", which always does",
                "Its code was not used. Try again, and where you paste, paste the whole address.");
  }
  if (expected.empty() || sent->second == expected) return {};
  return fail(
      Errc::refused,
      "the answer to the login came from \"" + scrub(sent->second) + "\", not from " + expected,
      "Its code was not used. If the provider has moved, mend \"issuer\" in "
      "providers.d.");
}

Result<Secret> code_in(const LoginParts& parts, const Query& query) {
  if (auto checked = check_issuer(parts, query); !checked) return fail(checked.error());
  const std::string_view error = value_of(query, "error");
  const std::string_view code = value_of(query, "code");
  if (error.empty() && !code.empty()) return Secret::copy_of(code);
  if (error.empty()) {
    return fail(Errc::login_needed, "the browser came back without a code", "Try again.");
  }
  std::string what = error == "access_denied" ? "the login was denied"
                                              : "the login failed: " + scrub(error, {}, 64);
  const std::string_view description = value_of(query, "error_description");
  if (!description.empty()) what += ": " + scrub(description);
  return fail(Errc::login_needed, what, "Nothing has changed here.");
}

Result<LoginAnswer> exchange_code(const LoginParts& parts, const Secret& code,
                                  const Authorization& authorization) {
  const std::string& body = parts.provider->code_body;
  FormFields fields{{"grant_type", "authorization_code"},
                    {"code", code.reveal()},
                    {"redirect_uri", authorization.redirect_uri},
                    {"code_verifier", authorization.pkce.verifier.reveal()}};
  // The one that wants JSON wants the state once more.
  if (body == "json") fields.emplace_back("state", authorization.state);
  auto request = login_request(parts, "token_endpoint", fields, body);
  if (!request) return fail(request.error());
  request->deadline = kDeadline;

  LoginAnswer got;
  got.shield = parts.shield ? parts.shield() : nullptr;
  for (int tried = 1;; ++tried) {
    bool sent = false;
    const Instant asked_at = parts.clock();
    got.answer = parts.http->perform(*request, [&] { return sent = true; });
    got.answer.started_at = asked_at;
    if (got.answer.http_status != 0 || sent || tried == kTries) break;
    parts.wait(tried * 1s);
  }
  if (got.answer.is_success() || brings_a_new_pair(got.answer)) return got;
  return fail(
      refused_login(got.answer, "the exchange of the code", {&code, &authorization.pkce.verifier}));
}

}  // namespace authdb::oauth
