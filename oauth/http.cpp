#include "oauth/http.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <random>
#include <thread>

#include "oauth/http_loader.h"
#include "oauth/token_answer.h"
#include "oauth/url.h"
#include "store/scrub.h"

namespace authdb::oauth {
namespace {

using Steady = std::chrono::steady_clock;

// Before a connection is tried for again: at most so long.
constexpr std::array<Milliseconds, 2> kPauses{Milliseconds{200}, Milliseconds{600}};

// Half of it at least; the rest by chance, so that many who fail together do not come back
// together.
Milliseconds jittered(Milliseconds pause) {
  thread_local std::minstd_rand random{std::random_device{}()};
  return std::uniform_int_distribution<Milliseconds::rep>(pause.count() / 2,
                                                          pause.count())(random) *
         Milliseconds{1};
}

struct Sent {
  const std::function<bool()>& function;
};

// Called from C: what it throws counts as "do not send".
int call_sent(void* context) noexcept {
  const auto& sent = static_cast<Sent*>(context)->function;
  try {
    return !sent || sent() ? 1 : 0;
  } catch (...) {
    return 0;
  }
}

bool names(const HttpRequest& request, std::string_view header) {
  const auto same = [](char a, char b) { return (a | 0x20) == (b | 0x20); };
  return std::any_of(request.headers.begin(), request.headers.end(), [&](const auto& entry) {
    return std::equal(header.begin(), header.end(), entry.first.begin(), entry.first.end(), same);
  });
}

// The header lines, with ours where the request has none. Values point into `values`.
std::vector<AuthdbHttpHeader> headers_of(const HttpRequest& request, std::vector<Secret>& values) {
  std::vector<AuthdbHttpHeader> out;
  values.reserve(request.headers.size() + 2);
  const auto add = [&](const char* name, std::string_view value) {
    std::vector<char> text(value.begin(), value.end());
    text.push_back('\0');
    values.emplace_back(std::move(text));
    out.push_back({name, values.back().reveal().data()});
  };
  if (!names(request, "Accept")) add("Accept", "application/json");
  if (!names(request, "User-Agent")) add("User-Agent", "authdb/" AUTHDB_VERSION);
  for (const auto& [name, value] : request.headers) add(name.c_str(), value.reveal());
  return out;
}

bool splits_lines(const HttpRequest& request) {
  return std::any_of(request.headers.begin(), request.headers.end(), [](const auto& header) {
    return header.second.reveal().find_first_of(std::string_view("\r\n\0", 3)) !=
           std::string_view::npos;
  });
}

// libcurl quotes a proxy that it cannot use, and the login that stands in it. It reads these
// variables of the process itself; http_proxy is none of them, for http goes to this machine alone.
std::string without_proxy_logins(const char* words) {
  std::vector<Secret> logins;
  for (const char* variable : {"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"}) {
    const char* proxy = std::getenv(variable);
    const std::string_view url = proxy == nullptr ? std::string_view() : proxy;
    const auto end = url.rfind('@');
    if (end == std::string_view::npos) continue;
    const auto scheme = url.find("://");
    const auto begin = scheme < end ? scheme + 3 : 0;
    logins.push_back(Secret::copy_of(url.substr(begin, end - begin)));
  }
  std::vector<const Secret*> known;
  for (const Secret& login : logins) known.push_back(&login);
  return scrub(words, known);
}

// What may be done about a certificate that is not believed.
std::string about_authorities(int trust, const Authorities& authorities) {
  const std::string& by = authorities.named_by;
  if (trust == kAuthdbHttpUnusableAuthorities && !by.empty()) {
    return "; what " + by + " names are no certificates: let it name a PEM file of them";
  }
  if (trust != kAuthdbHttpUnknownAuthority) return {};
  if (!by.empty()) return "; " + by + " does not name this server's authority: put it in there";
  return "; if the server's authority is right, name its PEM file with SSL_CERT_FILE or "
         "CURL_CA_BUNDLE, or as the provider's ca_file";
}

class CurlTransport final : public HttpTransport {
 public:
  Answer perform(const HttpRequest& request, const std::function<bool()>& sent) override {
    Answer answer;
    answer.started_at = system_now();
    const auto url = parse_url(request.url);
    if (!url) {
      answer.failure = "not a usable URL";
    } else if (splits_lines(request)) {
      answer.failure = "a header value has a line break in it";
    } else if (const HttpModule& module = http_module(); module.perform == nullptr) {
      answer.failure = "cannot load the HTTP module: " + module.problem;
    } else {
      exchange(module, request, !is_loopback(url->host), sent, answer);
    }
    return answer;
  }

 private:
  static void exchange(const HttpModule& module, const HttpRequest& request, bool use_proxy,
                       const std::function<bool()>& sent, Answer& answer) {
    std::vector<Secret> values;
    const std::vector<AuthdbHttpHeader> headers = headers_of(request, values);
    Sent context{sent};
    AuthdbHttpRequest raw{};
    raw.method = request.method.c_str();
    raw.url = request.url.c_str();
    raw.headers = headers.data();
    raw.header_count = headers.size();
    raw.body = request.body.empty() ? "" : request.body.reveal().data();
    raw.body_size = request.body.size();
    const Authorities& authorities = request.authorities;
    raw.ca_pem = authorities.pem.data();
    raw.ca_pem_size = authorities.pem.size();
    raw.ca_directory = authorities.directory.empty() ? nullptr : authorities.directory.c_str();
    raw.use_proxy = use_proxy ? 1 : 0;
    raw.deadline_ms = request.deadline.count();
    raw.answer_cap = request.answer_cap;
    raw.sent = call_sent;
    raw.context = &context;

    AuthdbHttpAnswer out{};
    const auto started = Steady::now();
    module.perform(kAuthdbHttpAbi, &raw, &out);
    for (const Milliseconds pause : kPauses) {
      const auto left = request.deadline - (Steady::now() - started) - pause;
      if (out.unreached == 0 || left <= Steady::duration::zero()) break;
      module.release(&out);
      // No connection stood, so nothing was sent: the one case in which asking again is harmless.
      std::this_thread::sleep_for(jittered(pause));
      raw.deadline_ms = std::chrono::duration_cast<Milliseconds>(left).count();
      module.perform(kAuthdbHttpAbi, &raw, &out);
    }
    answer.http_status = out.status;
    if (out.body != nullptr) answer.body = Secret::copy_of({out.body, out.body_size});
    answer.content_type = out.content_type;
    answer.complete =
        out.complete != 0 && (out.unbounded == 0 || shows_its_end(answer.body.reveal()));
    if (out.retry_after_s >= 0) answer.retry_after = Seconds{out.retry_after_s};
    if (out.date_s >= 0) answer.server_time = Instant(Seconds{out.date_s});
    // libcurl's words, with what a server or a proxy wrote in them.
    answer.failure = without_proxy_logins(out.failure) + about_authorities(out.trust, authorities);
    module.release(&out);
  }
};

}  // namespace

std::string why_no_answer(const Answer& answer, const std::vector<const Secret*>& known) {
  return answer.failure.empty() ? "no answer" : without_secrets(answer.failure, known);
}

std::shared_ptr<HttpTransport> curl_transport() { return std::make_shared<CurlTransport>(); }

}  // namespace authdb::oauth
