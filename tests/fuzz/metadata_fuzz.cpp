// The document that an issuer publishes: its endpoints are URLs that a token may be sent to, or it
// is refused.
#include <string>

#include "oauth/discovery.h"
#include "oauth/url.h"
#include "tests/fuzz/fuzz.h"

namespace authdb::oauth {
namespace {

// Answers every question with the same bytes.
class Publisher final : public HttpTransport {
 public:
  explicit Publisher(std::string_view body) : body_(body) {}
  Answer perform(const HttpRequest&, const std::function<bool()>&) override {
    Answer answer;
    answer.http_status = 200;
    answer.complete = true;
    answer.body = Secret::copy_of(body_);
    return answer;
  }

 private:
  const std::string body_;
};

void ask(std::string_view body) {
  Provider provider;
  provider.id = "fuzzed";
  provider.issuer = "https://issuer.example";
  provider.allowed_hosts = {"issuer.example"};
  Discovery discovery(
      std::make_shared<Publisher>(body), [](const std::string&) { return std::nullopt; },
      [] { return at_millis(0); });
  const auto metadata = discovery.metadata(provider, {});
  if (!metadata) return fuzz::require(!metadata.error().message.empty(), "a refusal says why");
  for (const char* field : {"token_endpoint", "revocation_endpoint", "authorization_endpoint"}) {
    const auto endpoint = discovery.endpoint(provider, {}, field);
    if (!endpoint) continue;
    const auto url = parse_url(*endpoint);
    fuzz::require(url && is_secure(*url), "an endpoint is https");
  }
}

}  // namespace
}  // namespace authdb::oauth

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto text = authdb::fuzz::text_of(data, size);
  authdb::oauth::ask(text);
  // The issuer's own name is asked for first; few mutations would have it.
  authdb::oauth::ask("{\"issuer\":\"https://issuer.example\"," + std::string(text));
  return 0;
}
