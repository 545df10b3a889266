#include "oauth/http.h"

#include <dlfcn.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <filesystem>
#include <mutex>
#include <random>
#include <thread>

#include "oauth/http_module.h"
#include "oauth/token_answer.h"
#include "oauth/url.h"

namespace authdb::oauth {
namespace {

namespace fs = std::filesystem;

struct Module {
  AuthdbHttpPerform* perform = nullptr;
  AuthdbHttpRelease* release = nullptr;
  std::string problem;
};

std::array<fs::path, 5> module_places() {
  constexpr const char* kName = "authdb_http.so";
  std::error_code error;
  const fs::path bin = fs::read_symlink("/proc/self/exe", error).parent_path();
  return {bin / ".." / "lib" / kName, bin / kName, bin / ".." / "lib" / "authdb" / kName,
          fs::path(AUTHDB_MODULE_INSTALL_DIR) / kName, fs::path(AUTHDB_MODULE_BUILD_DIR) / kName};
}

Module load_module() {
  Module module;
  for (const fs::path& place : module_places()) {
    std::error_code error;
    if (!fs::exists(place, error)) continue;
    // Never closed: libcurl and OpenSSL leave handlers behind that run at exit.
    void* handle = ::dlopen(place.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) {
      const char* reason = ::dlerror();
      module.problem = reason == nullptr ? "cannot be loaded" : reason;
      continue;
    }
    module.perform = reinterpret_cast<AuthdbHttpPerform*>(::dlsym(handle, "authdb_http_perform"));
    module.release = reinterpret_cast<AuthdbHttpRelease*>(::dlsym(handle, "authdb_http_release"));
    if (module.perform != nullptr && module.release != nullptr) return module;
    module.problem = place.string() + " is not the HTTP module of authdb";
  }
  if (module.problem.empty()) module.problem = "authdb_http.so is not installed";
  module.perform = nullptr;
  return module;
}

// The module is loaded once. fork() waits while a thread does so: its child, which has the forking
// thread only, would find the loading begun and wait for its end for ever. Registered before there
// are threads; never undone.
struct Loading {
  Loading() {
    ::pthread_atfork([] { one().mutex.lock(); }, [] { one().mutex.unlock(); },
                     [] { one().mutex.unlock(); });
  }
  static Loading& one() {
    static auto* const instance = new Loading;
    return *instance;
  }

  std::mutex mutex;
  std::atomic<const Module*> module{nullptr};
};
[[maybe_unused]] const Loading& g_loading = Loading::one();

const Module& http_module() {
  Loading& loading = Loading::one();
  if (const Module* loaded = loading.module.load()) return *loaded;
  const std::lock_guard guard(loading.mutex);
  if (loading.module.load() == nullptr) loading.module = new Module(load_module());
  return *loading.module.load();
}

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
    } else if (!request.ca_file.empty() && ::access(request.ca_file.c_str(), R_OK) != 0) {
      answer.failure = "cannot read the CA file " + request.ca_file;
    } else if (const Module& module = http_module(); module.perform == nullptr) {
      answer.failure = "cannot load the HTTP module: " + module.problem;
    } else {
      exchange(module, request, !is_loopback(url->host), sent, answer);
    }
    return answer;
  }

 private:
  static void exchange(const Module& module, const HttpRequest& request, bool use_proxy,
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
    raw.ca_file = request.ca_file.empty() ? nullptr : request.ca_file.c_str();
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
    answer.failure = out.failure;
    module.release(&out);
  }
};

}  // namespace

std::shared_ptr<HttpTransport> curl_transport() { return std::make_shared<CurlTransport>(); }

}  // namespace authdb::oauth
