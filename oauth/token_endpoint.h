// A provider's token endpoint, as the store's rotation needs it: how a refresh request is written
// and what the answer means, both by the provider's data and the credential's identity.
#pragma once

#include <memory>
#include <string>

#include "oauth/classify.h"
#include "oauth/discovery.h"
#include "oauth/http.h"
#include "oauth/provider.h"
#include "oauth/token_answer.h"
#include "store/clock.h"
#include "store/credential.h"
#include "store/token_endpoint.h"

namespace authdb::oauth {

struct TokenEndpointParts {
  const Provider* provider;  // the registry's, which outlives every endpoint
  Identity identity;
  std::shared_ptr<HttpTransport> http;
  Environment environment;
  Clock clock;
  std::shared_ptr<Discovery> discovery;
};

// send() is for one refresh; judge() may be called any number of times, from any thread.
class OAuthTokenEndpoint final : public TokenEndpoint {
 public:
  explicit OAuthTokenEndpoint(TokenEndpointParts parts) : parts_(std::move(parts)) {}

  // An Answer that was not sent has http_status 0, `failure` says why, and `sent` was not called.
  Answer send(const Secret& refresh_token, const std::function<bool()>& sent) override;
  Judgement judge(const Answer& answer) const override;
  TokenPolicy policy() const override;

 private:
  Result<HttpRequest> request(const Secret& refresh_token);
  Grant grant_of(const TokenAnswer& fields, Instant started_at, std::string& warning) const;
  bool read_grant(const Answer& answer, const TokenAnswer& fields, Judgement& out) const;
  void read_refusal(const Answer& answer, const TokenAnswer& fields, Judgement& out) const;
  std::string describe(const Answer& answer, const ErrorBody& body, bool reuse) const;

  TokenEndpointParts parts_;
};

}  // namespace authdb::oauth
