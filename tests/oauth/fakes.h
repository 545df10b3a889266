// What the tests of oauth/ put in place of the world.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "oauth/http.h"
#include "oauth/provider.h"

namespace authdb::oauth {

// base64url without padding of three segments; the signature proves nothing.
inline std::string fake_jwt(std::string_view payload) {
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::string out = "eyJhbGciOiJub25lIn0.";
  unsigned bits = 0;
  unsigned held = 0;
  for (const char c : payload) {
    bits = (bits << 8U | static_cast<unsigned char>(c)) & 0xffffU;
    for (held += 8; held >= 6; held -= 6) out += kAlphabet[bits >> (held - 6U) & 63U];
  }
  if (held > 0) out += kAlphabet[bits << (6U - held) & 63U];
  return out + ".c2ln";
}

inline Environment no_environment() {
  return [](const std::string&) { return std::nullopt; };
}
inline Environment environment(std::map<std::string, std::string> values) {
  return [values = std::move(values)](const std::string& name) -> std::optional<std::string> {
    const auto it = values.find(name);
    return it == values.end() ? std::nullopt : std::optional(it->second);
  };
}

inline Answer answered(int status, std::string_view body) {
  Answer answer;
  answer.http_status = status;
  answer.body = Secret::copy_of(body);
  answer.content_type = "application/json";
  answer.complete = true;
  answer.started_at = at_millis(1'779'179'400'000);
  return answer;
}

// What went over the wire, in clear: these are the test's own tokens.
struct Seen {
  std::string method;
  std::string url;
  std::map<std::string, std::string> headers;
  std::string body;
};

// Answers in order and remembers what it was asked.
class ScriptedHttp final : public HttpTransport {
 public:
  std::deque<Answer> answers;
  std::vector<Seen> seen;

  Answer perform(const HttpRequest& request, const std::function<bool()>& sent) override {
    const std::lock_guard lock(mutex_);
    Seen entry{request.method, request.url, {}, std::string(request.body.reveal())};
    for (const auto& [name, value] : request.headers) {
      entry.headers[name] = std::string(value.reveal());
    }
    seen.push_back(std::move(entry));
    if (sent && !sent()) return {};
    if (answers.empty()) return {};
    Answer answer = std::move(answers.front());
    answers.pop_front();
    return answer;
  }

 private:
  std::mutex mutex_;
};

}  // namespace authdb::oauth
