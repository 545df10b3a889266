// URLs: what we accept, libcurl reads in the same way, so a token goes where the check saw it go.
#include <curl/curl.h>

#include <memory>
#include <string>

#include "oauth/authorization.h"
#include "oauth/url.h"
#include "tests/fuzz/fuzz.h"

namespace {

using Handle = std::unique_ptr<CURLU, decltype(&curl_url_cleanup)>;

std::string part(const Handle& url, CURLUPart which) {
  char* text = nullptr;
  if (curl_url_get(url.get(), which, &text, 0) != CURLUE_OK) return {};
  std::string out = text;
  curl_free(text);
  return out;
}

// libcurl shortens some spellings of an IPv6 address and leaves others.
std::string without_brackets(const std::string& host) {
  if (!host.starts_with('[')) return host;
  const auto one_spelling = authdb::oauth::parse_url("http://" + host);
  return one_spelling ? one_spelling->host : host;
}

void compare(const std::string& text, const authdb::oauth::Url& ours) {
  using authdb::fuzz::require;
  const Handle theirs(curl_url(), curl_url_cleanup);
  require(curl_url_set(theirs.get(), CURLUPART_URL, text.c_str(), 0) == CURLUE_OK,
          "libcurl takes what we take");
  require(part(theirs, CURLUPART_SCHEME) == ours.scheme, "the same scheme");
  require(part(theirs, CURLUPART_PORT) == ours.port, "the same port");
  require(part(theirs, CURLUPART_USER).empty(), "no user");
  require(part(theirs, CURLUPART_FRAGMENT).empty(), "no fragment");
  std::string host = without_brackets(part(theirs, CURLUPART_HOST));
  for (char& c : host) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  require(host == ours.host, "the same host");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace authdb;
  const std::string text(fuzz::text_of(data, size));
  for (const std::string& url : {text, "https://" + text, "http://127.0.0.1" + text}) {
    if (const auto ours = oauth::parse_url(url)) {
      compare(url, *ours);
      compare(oauth::with_query(url, {}), *ours);
    }
  }
  oauth::parse_query(text);
  return 0;
}
