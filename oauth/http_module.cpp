// The only file that knows libcurl, built as a module of its own (http_module.h).
#include "oauth/http_module.h"

#include <curl/curl.h>
#include <dlfcn.h>
#include <malloc.h>
#include <signal.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string_view>

namespace {

using Steady = std::chrono::steady_clock;

constexpr const char* kCaDirectory = "/etc/ssl/certs";
constexpr long long kLongestRetryAfter = 86400;

struct Transfer {
  const AuthdbHttpRequest& request;
  AuthdbHttpAnswer& answer;
  bool too_large = false;
  bool asked = false;  // whether the request may be sent: from here on it may have been
  bool refused = false;
  bool chunked = false;
  time_t date = -1;
  char retry_after[64] = {};
};

// OpenSSL may write to a connection that the peer has closed. CURLOPT_NOSIGNAL leaves SIGPIPE to
// us; it is blocked in this thread only, and one that we caused is taken back.
class NoSigpipe {
 public:
  NoSigpipe() {
    sigemptyset(&pipe_);
    sigaddset(&pipe_, SIGPIPE);
    sigset_t pending;
    sigpending(&pending);
    was_pending_ = sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &pipe_, &old_);
  }
  NoSigpipe(const NoSigpipe&) = delete;
  NoSigpipe& operator=(const NoSigpipe&) = delete;
  ~NoSigpipe() {
    const timespec now{};
    if (!was_pending_) sigtimedwait(&pipe_, nullptr, &now);
    pthread_sigmask(SIG_SETMASK, &old_, nullptr);
  }

 private:
  sigset_t pipe_;
  sigset_t old_;
  bool was_pending_ = false;
};

// libcurl copies header lines; these copies hold tokens.
struct WipeList {
  void operator()(curl_slist* list) const {
    for (curl_slist* node = list; node != nullptr; node = node->next) {
      explicit_bzero(node->data, strlen(node->data));
    }
    curl_slist_free_all(list);
  }
};
using HeaderList = std::unique_ptr<curl_slist, WipeList>;

struct CloseEasy {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};
struct CloseMulti {
  void operator()(CURLM* multi) const { curl_multi_cleanup(multi); }
};

void say(AuthdbHttpAnswer& answer, const char* text) {
  std::snprintf(answer.failure, sizeof answer.failure, "%s", text);
}

std::size_t take_body(char* data, std::size_t, std::size_t size, void* context) {
  auto& transfer = *static_cast<Transfer*>(context);
  AuthdbHttpAnswer& answer = transfer.answer;
  const std::size_t room = transfer.request.answer_cap - answer.body_size;
  const std::size_t take = std::min(size, room);
  memcpy(answer.body + answer.body_size, data, take);
  answer.body_size += take;
  transfer.too_large = take < size;
  return take;  // less than `size` ends the transfer
}

// The value of header `name`, null unless this line is it.
const char* value_of(const char* line, const char* name) {
  const std::size_t length = strlen(name);
  if (strncasecmp(line, name, length) != 0 || line[length] != ':') return nullptr;
  const char* value = line + length + 1;
  while (*value == ' ' || *value == '\t') ++value;
  return value;
}

std::size_t take_header(char* data, std::size_t, std::size_t size, void* context) {
  auto& transfer = *static_cast<Transfer*>(context);
  char line[256];  // longer ones are none of those we read
  if (size >= sizeof line) return size;
  memcpy(line, data, size);
  line[size] = '\0';
  line[strcspn(line, "\r\n")] = '\0';
  if (strncmp(line, "HTTP/", 5) == 0) {  // a new answer: what came before was 1xx or a proxy's
    transfer.date = -1;
    transfer.retry_after[0] = '\0';
    transfer.chunked = false;
  } else if (const char* date = value_of(line, "Date")) {
    transfer.date = curl_getdate(date, nullptr);
  } else if (const char* coding = value_of(line, "Transfer-Encoding")) {
    transfer.chunked = strcasestr(coding, "chunked") != nullptr;
  } else if (const char* after = value_of(line, "Retry-After")) {
    std::snprintf(transfer.retry_after, sizeof transfer.retry_after, "%.*s",
                  static_cast<int>(sizeof transfer.retry_after) - 1, after);
  }
  explicit_bzero(line, size);
  return size;
}

int before_request(void* context, char*, char*, int, int) {
  auto& transfer = *static_cast<Transfer*>(context);
  transfer.asked = true;
  transfer.refused = transfer.request.sent(transfer.request.context) == 0;
  return transfer.refused ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

// Seconds, or a date to be read against the server's own clock.
long long retry_after_of(const Transfer& transfer) {
  const char* text = transfer.retry_after;
  if (*text == '\0') return -1;
  long long seconds = 0;
  if (strspn(text, "0123456789") == strlen(text)) {
    seconds = strlen(text) > 9 ? kLongestRetryAfter : std::strtoll(text, nullptr, 10);
  } else {
    const time_t at = curl_getdate(text, nullptr);
    if (at == -1) return -1;
    seconds = at - (transfer.date == -1 ? time(nullptr) : transfer.date);
  }
  return std::clamp(seconds, 0LL, kLongestRetryAfter);
}

HeaderList headers_of(const AuthdbHttpRequest& request) {
  curl_slist* list = curl_slist_append(nullptr, "Expect:");
  const auto append = [&](const char* line) {
    if (curl_slist* longer = curl_slist_append(list, line)) list = longer;
  };
  for (std::size_t i = 0; i < request.header_count; ++i) {
    const AuthdbHttpHeader& header = request.headers[i];
    const std::size_t size = strlen(header.name) + strlen(header.value) + 3;
    char* line = static_cast<char*>(malloc(size));
    if (line == nullptr) continue;
    std::snprintf(line, size, "%s: %s", header.name, header.value);
    append(line);
    explicit_bzero(line, size);
    free(line);
  }
  return HeaderList(list);
}

// OpenSSL, too, is to wipe what it has decrypted once that is read: SSL_OP_CLEANSE_PLAINTEXT
// of 3.0. libcurl is linked to it and we are not, so it is called by its name.
CURLcode wipe_plaintext(CURL*, void* context, void*) {
  using SetOptions = std::uint64_t(void*, std::uint64_t);
  constexpr std::uint64_t kCleansePlaintext = 1U << 1U;
  auto* const set = reinterpret_cast<SetOptions*>(dlsym(RTLD_DEFAULT, "SSL_CTX_set_options"));
  if (set != nullptr) set(context, kCleansePlaintext);
  return CURLE_OK;
}

bool has_openssl_3() {
  const char* const library = curl_version_info(CURLVERSION_NOW)->ssl_version;
  return library != nullptr && strncmp(library, "OpenSSL/3", 9) == 0;
}

void configure(CURL* easy, Transfer& transfer, curl_slist* headers, char* error) {
  const AuthdbHttpRequest& request = transfer.request;
  curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, error);
  curl_easy_setopt(easy, CURLOPT_URL, request.url);
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
  curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
  curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(easy, CURLOPT_NETRC, static_cast<long>(CURL_NETRC_IGNORED));
  curl_easy_setopt(easy, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 1L);
  // A name server that does not answer must not hold us beyond our deadline.
  curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
  curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  if (request.use_proxy == 0) curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
  curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
  curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
  if (has_openssl_3()) curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, wipe_plaintext);
  if (request.ca_pem_size != 0 || request.ca_directory != nullptr) {
    curl_blob pem{const_cast<char*>(request.ca_pem), request.ca_pem_size, CURL_BLOB_NOCOPY};
    curl_easy_setopt(easy, CURLOPT_CAINFO, nullptr);
    curl_easy_setopt(easy, CURLOPT_CAPATH, request.ca_directory);
    if (request.ca_pem_size != 0) curl_easy_setopt(easy, CURLOPT_CAINFO_BLOB, &pem);
  } else if (access(kCaDirectory, R_OK) == 0) {
    // The bundle file, libcurl's default, costs 25 ms to read each time; the directory nothing.
    curl_easy_setopt(easy, CURLOPT_CAINFO, nullptr);
    curl_easy_setopt(easy, CURLOPT_CAPATH, kCaDirectory);
  }
  if (strcmp(request.method, "GET") != 0) {
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body_size));
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request.body);  // not copied
  }
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, &transfer);
  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_header);
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, &transfer);
  curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, before_request);
  curl_easy_setopt(easy, CURLOPT_PREREQDATA, &transfer);
}

// CURLE_OPERATION_TIMEDOUT at the deadline. CURLOPT_TIMEOUT would drop what has arrived but was not
// read yet; here one last perform takes it.
CURLcode run(CURLM* multi, Steady::time_point deadline) {
  bool last = false;
  for (;;) {
    int running = 0;
    const CURLMcode driven = curl_multi_perform(multi, &running);
    int left = 0;
    while (CURLMsg* message = curl_multi_info_read(multi, &left)) {
      if (message->msg == CURLMSG_DONE) return message->data.result;
    }
    if (driven != CURLM_OK) return CURLE_FAILED_INIT;
    if (last) return CURLE_OPERATION_TIMEDOUT;
    const auto wait =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - Steady::now()).count();
    if (wait > 0)
      curl_multi_poll(multi, nullptr, 0, static_cast<int>(std::min<long long>(wait, 60'000)),
                      nullptr);
    last = Steady::now() >= deadline;
  }
}

void describe(const Transfer& transfer, CURLcode code, const char* error) {
  AuthdbHttpAnswer& answer = transfer.answer;
  if (code == CURLE_OK) return;
  if (transfer.refused) return say(answer, "the request was withdrawn before it was sent");
  if (transfer.too_large) return say(answer, "the answer is too large");
  if (code == CURLE_OPERATION_TIMEDOUT) return say(answer, "no whole answer before the deadline");
  say(answer, *error != '\0' ? error : curl_easy_strerror(code));
}

// What libcurl frees was part of a request or an answer: its buffers, its copies of headers and of
// what it read. All of it is wiped; that costs less than to know which.
void wiping_free(void* block) {
  if (block == nullptr) return;
  explicit_bzero(block, malloc_usable_size(block));
  free(block);
}

void* wiping_realloc(void* block, std::size_t size) {
  if (block == nullptr) return malloc(size);
  if (size <= malloc_usable_size(block)) return block;
  void* larger = malloc(size);
  if (larger == nullptr) return nullptr;
  memcpy(larger, block, malloc_usable_size(block));
  wiping_free(block);
  return larger;
}

// While the module is loaded, which fork() waits for (http_loader.cpp). Where the program has begun
// to use libcurl before, its way to free counts.
const CURLcode g_ready =
    curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, wiping_free, wiping_realloc, strdup, calloc);

// A name that was not found, a port that nobody listens on, a handshake that was cut. A certificate
// that is not believed stays so.
bool never_stood(CURLcode code) {
  return code == CURLE_COULDNT_RESOLVE_PROXY || code == CURLE_COULDNT_RESOLVE_HOST ||
         code == CURLE_COULDNT_CONNECT || code == CURLE_SSL_CONNECT_ERROR;
}

// OpenSSL's numbers for a chain that ends nowhere: no issuer, or one that signed itself.
int trust_of(CURL* easy, CURLcode code) {
  if (code == CURLE_SSL_CACERT_BADFILE) return kAuthdbHttpUnusableAuthorities;
  long verified = 0;
  curl_easy_getinfo(easy, CURLINFO_SSL_VERIFYRESULT, &verified);
  constexpr std::array kUnknown{2L, 18L, 19L, 20L, 21L, 27L};
  const bool unknown = std::find(kUnknown.begin(), kUnknown.end(), verified) != kUnknown.end();
  return code == CURLE_PEER_FAILED_VERIFICATION && unknown ? kAuthdbHttpUnknownAuthority : 0;
}

// Neither a length nor chunks said where the body ends.
bool is_unbounded(CURL* easy, const Transfer& transfer, long status) {
  curl_off_t length = -1;
  curl_easy_getinfo(easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
  const bool without_body = status == 204 || status == 304;
  return length < 0 && !transfer.chunked && !without_body;
}

void perform(const AuthdbHttpRequest& request, AuthdbHttpAnswer& answer) {
  const auto deadline = Steady::now() + std::chrono::milliseconds(request.deadline_ms);
  if (g_ready != CURLE_OK) return say(answer, "libcurl cannot be initialised");

  const NoSigpipe quiet;
  char error[CURL_ERROR_SIZE] = {};
  Transfer transfer{request, answer};
  const HeaderList headers = headers_of(request);
  const std::unique_ptr<CURLM, CloseMulti> multi(curl_multi_init());
  const std::unique_ptr<CURL, CloseEasy> easy(curl_easy_init());
  answer.body = static_cast<char*>(malloc(request.answer_cap));  // never grown, so never copied
  if (!multi || !easy || answer.body == nullptr) return say(answer, "out of memory");
  configure(easy.get(), transfer, headers.get(), error);

  curl_multi_add_handle(multi.get(), easy.get());
  const CURLcode code = run(multi.get(), deadline);
  long status = 0;
  curl_easy_getinfo(easy.get(), CURLINFO_RESPONSE_CODE, &status);
  const char* type = nullptr;
  curl_easy_getinfo(easy.get(), CURLINFO_CONTENT_TYPE, &type);
  answer.status = status >= 200 ? static_cast<int>(status) : 0;
  answer.complete = code == CURLE_OK ? 1 : 0;
  answer.unbounded = is_unbounded(easy.get(), transfer, status) ? 1 : 0;
  answer.trust = trust_of(easy.get(), code);
  answer.unreached = never_stood(code) && !transfer.asked ? 1 : 0;
  answer.retry_after_s = retry_after_of(transfer);
  answer.date_s = transfer.date;
  if (type != nullptr) std::snprintf(answer.content_type, sizeof answer.content_type, "%s", type);
  describe(transfer, code, error);
  curl_multi_remove_handle(multi.get(), easy.get());
}

}  // namespace

extern "C" void authdb_http_perform(int abi, const AuthdbHttpRequest* request,
                                    AuthdbHttpAnswer* answer) {
  const bool same = abi == kAuthdbHttpAbi;
  memset(answer, 0, same ? sizeof *answer : offsetof(AuthdbHttpAnswer, trust));
  answer->retry_after_s = -1;
  answer->date_s = -1;
  if (!same) return say(*answer, "authdb_http.so is of another version: start the program anew");
  perform(*request, *answer);
}

extern "C" void authdb_http_release(AuthdbHttpAnswer* answer) {
  if (answer->body != nullptr) explicit_bzero(answer->body, answer->body_size);
  free(answer->body);
  answer->body = nullptr;
}
