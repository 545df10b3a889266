// Makes one request and prints why there was no answer: which HTTP module was loaded, or why none.
#include <cstdio>

#include "oauth/http.h"

extern "C" void http_probe() {
  authdb::oauth::HttpRequest request;
  request.url = "http://127.0.0.1:1/";  // tcpmux: nobody listens
  request.deadline = authdb::Milliseconds{100};
  std::puts(authdb::oauth::curl_transport()->perform(request, {}).failure.c_str());
}
