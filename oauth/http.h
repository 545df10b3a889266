// One HTTP exchange as a token endpoint needs it: HTTP/1.1 on a new connection, no redirects, one
// deadline over all of it, a cap on the answer. A connection that never stood is tried for again,
// twice and after a pause: nothing was sent. A request is never sent twice. libcurl does the work,
// in a module of its own that is loaded when the first request is made: a token that is fresh never
// pays for it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "store/clock.h"
#include "store/secret.h"
#include "store/token_endpoint.h"

namespace authdb::oauth {

// The authorities that a server's certificate must come from (authorities.h).
struct Authorities {
  std::string pem;  // their certificates
  std::string
      directory;         // and those in these directories (`:` between them), as OpenSSL names them
  std::string named_by;  // in words: "SSL_CERT_FILE"; empty: nobody named any, the system's count
};

struct HttpRequest {
  std::string method = "POST";
  std::string url;
  std::vector<std::pair<std::string, Secret>> headers;  // values may carry tokens
  Secret body;
  Authorities authorities;
  Milliseconds deadline{20'000};
  std::size_t answer_cap = 1 << 20;
};

// Thread-safe. perform() invokes `sent` at most once, after the connection (TLS included) stands
// and before the first byte of the request leaves; if it returns false nothing is sent. An empty
// function is true.
class HttpTransport {
 public:
  virtual ~HttpTransport() = default;
  virtual Answer perform(const HttpRequest& request, const std::function<bool()>& sent) = 0;
};

// Why no answer came, for a person. What the transport says itself is whole, since it may name
// files and variables; with one of `known` in it, it is scrubbed.
std::string why_no_answer(const Answer& answer, const std::vector<const Secret*>& known = {});

// The libcurl transport. Cheap to make; the module is loaded by the first perform(). If it cannot
// be loaded, every answer says so in `failure`, and nothing is sent.
std::shared_ptr<HttpTransport> curl_transport();

}  // namespace authdb::oauth
