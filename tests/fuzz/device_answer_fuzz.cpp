// What a server says while a login waits: no answer crashes us, and the code that was sent is in no
// message, however it is returned.
#include <algorithm>
#include <array>
#include <string>

#include "oauth/device_poll.h"
#include "tests/fuzz/fuzz.h"

namespace {

constexpr std::string_view kDeviceCode = "device-code-made-up-0123456789";

void check(const authdb::oauth::Polled& polled) {
  using authdb::fuzz::require;
  using Kind = authdb::oauth::Polled::Kind;
  require((polled.kind == Kind::refused) == polled.error.has_value(), "a refusal has its error");
  if (!polled.error) return;
  const std::string said = polled.error->message + polled.error->hint;
  require(said.find(kDeviceCode) == std::string::npos, "a message does not tell the code");
  require(std::none_of(said.begin(), said.end(),
                       [](char c) { return static_cast<unsigned char>(c) < 0x20 && c != '\n'; }),
          "a message has no control characters");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace authdb;
  constexpr std::array kStatuses{200, 400, 401, 403, 404, 429, 500, 503};
  if (size == 0) return 0;
  Answer answer;
  answer.http_status = kStatuses[data[0] % kStatuses.size()];
  answer.complete = true;
  // `$` stands for the code: a server can return it anywhere.
  std::string body;
  for (const char c : fuzz::text_of(data + 1, size - 1)) {
    if (c == '$') body += kDeviceCode;
    if (c != '$') body += c;
  }
  answer.body = Secret::copy_of(body);
  const Secret code = Secret::copy_of(kDeviceCode);
  check(oauth::read_device_poll(answer, {&code}));
  if (const auto polled = oauth::read_poll_error(answer, {&code})) check(*polled);
  const oauth::TokenAnswer fields(answer);
  fuzz::require(oauth::poll_interval(fields, Milliseconds(1000)) >= Milliseconds(1000),
                "a server cannot make us ask without a pause");
  return 0;
}
