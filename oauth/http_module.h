// The C boundary of the libcurl module. The two sides may carry different C++ run times, so nothing
// but plain data crosses it, and nothing throws.
#pragma once

#include <cstddef>

extern "C" {

inline constexpr int kAuthdbHttpAbi = 4;

struct AuthdbHttpHeader {
  const char* name;
  const char* value;
};

struct AuthdbHttpRequest {
  const char* method;
  const char* url;
  const AuthdbHttpHeader* headers;
  std::size_t header_count;
  const char* body;
  std::size_t body_size;
  const char* ca_pem;  // certificates of the authorities to believe
  std::size_t ca_pem_size;
  const char* ca_directory;  // more of them, hashed. Neither: the system's directory
  int use_proxy;             // 0: never; else as the usual environment variables say
  long long deadline_ms;
  std::size_t answer_cap;
  int (*sent)(void* context);  // 0: send nothing
  void* context;
};

// What was the matter with a certificate.
inline constexpr int kAuthdbHttpUnknownAuthority = 1;     // the server's, of none that is believed
inline constexpr int kAuthdbHttpUnusableAuthorities = 2;  // `ca_pem` could not be read

struct AuthdbHttpAnswer {
  int status;     // 0: no final status line arrived
  int complete;   // nothing went wrong before the end of the body
  int unbounded;  // its end was the connection's: it may have been cut
  int unreached;  // no connection stood, so that `sent` was not called: it may be tried again
  char* body;     // `body_size` bytes, not terminated; authdb_http_release() wipes and frees it
  std::size_t body_size;
  char content_type[128];
  long long retry_after_s;  // -1: none
  long long date_s;         // the Date header, Unix time; -1: none
  char failure[512];
  // What was added since version 3 follows here: whoever is refused because of its version has room
  // for what stands above, and finds `failure` there.
  int trust;  // 0, or a kAuthdbHttp… of the above
};

using AuthdbHttpPerform = void(int abi, const AuthdbHttpRequest* request, AuthdbHttpAnswer* answer);
using AuthdbHttpRelease = void(AuthdbHttpAnswer* answer);
}
