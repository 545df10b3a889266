// What a token endpoint says, in any wrapping, whole or cut: nothing in it crashes us or ends up on
// a terminal, and only a whole answer keeps the old refresh token.
#include <zlib.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>

#include "oauth/token_answer.h"
#include "oauth/token_endpoint.h"
#include "tests/fuzz/fuzz.h"

namespace authdb::oauth {
namespace {

bool is_clean(std::string_view text) {
  return std::none_of(text.begin(), text.end(),
                      [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; });
}

void check_fields(const TokenAnswer& answer) {
  for (const char* key : {"access_token", "refresh_token", "token_type", "scope", "error"}) {
    fuzz::require(is_clean(answer.text(key)), "a member has no control characters");
  }
  fuzz::require(answer.fields().is_object(), "the fields are an object");
  answer.key_names();
}

std::string gzipped(std::string_view text) {
  z_stream stream{};
  deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(out.size() - stream.avail_out);
  deflateEnd(&stream);
  return out;
}

// One more layer around an answer that had none changes nothing.
void check_compressed(std::string_view body, const TokenAnswer& plain) {
  if (body.empty() || !is_clean(body)) return;
  const TokenAnswer unpacked(gzipped(body));
  fuzz::require(unpacked.is_whole() == plain.is_whole(), "compression takes nothing away");
  fuzz::require(unpacked.fields() == plain.fields(), "compression changes nothing");
}

void check_judgement(std::string_view body, int status, bool complete) {
  static const ProviderRegistry registry = ProviderRegistry::load("/nonexistent");
  static const OAuthTokenEndpoint endpoint({registry.find("nous"),
                                            {},
                                            nullptr,
                                            [](const std::string&) { return std::nullopt; },
                                            [] { return at_millis(0); },
                                            nullptr});
  Answer answer;
  answer.http_status = status;
  answer.body = Secret::copy_of(body);
  answer.complete = complete;
  const Judgement got = endpoint.judge(answer);

  fuzz::require(is_clean(got.message) && is_clean(got.code), "messages are printable");
  fuzz::require(!got.unreadable || (!got.grant && got.ruling == Ruling::uncertain),
                "what is unreadable decides nothing");
  if (!got.grant) return;
  const bool granted = got.ruling == Ruling::granted;
  const bool rotated = !got.grant->refresh_token.empty();
  fuzz::require(status == 200 || (granted && rotated && TokenAnswer(answer).is_whole()),
                "beside a 2xx only a whole new pair grants");
  fuzz::require(granted == !got.grant->access_token.empty(), "a grant has an access token");
  fuzz::require(rotated || (complete && TokenAnswer(answer).is_whole()),
                "only a whole answer keeps the old refresh token");
}

}  // namespace
}  // namespace authdb::oauth

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace authdb;
  const auto body = fuzz::text_of(data, size);
  const oauth::TokenAnswer answer(body);
  oauth::check_fields(answer);
  oauth::check_fields(oauth::TokenAnswer(body, /*complete=*/false));
  oauth::check_compressed(body, answer);
  for (const int status : {200, 400, 502}) {
    oauth::check_judgement(body, status, true);
    oauth::check_judgement(body, status, false);
  }
  return 0;
}
