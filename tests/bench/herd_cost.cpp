// How long the last of many processes waits when one token has expired for all of them.
//
//   herd_cost [PROCESSES [HTTP_MS]]
//
// Running processes ask at one moment; the token endpoint takes HTTP_MS. Next to it the same with
// one lock around a JSON file. What counts is what the slowest waits beyond the request.
#include <atomic>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "oauth/bearer.h"
#include "store/rotation.h"
#include "tests/bench/measure.h"
#include "tools/portal/portal.h"

namespace {

using namespace authdb;
using namespace authdb::bench;

struct Times {
  std::atomic<int> calls{0};
  std::atomic<double> http{0};
  std::atomic<int> failures{0};
};

// The real transport, timed.
class Timed final : public oauth::HttpTransport {
 public:
  explicit Timed(Times& times) : times_(times) {}
  Answer perform(const oauth::HttpRequest& request, const std::function<bool()>& sent) override {
    Answer answer;
    ++times_.calls;
    times_.http = milliseconds([&] { answer = real_->perform(request, sent); });
    return answer;
  }

 private:
  Times& times_;
  std::shared_ptr<oauth::HttpTransport> real_ = oauth::curl_transport();
};

portal::Options portal_options() {
  portal::Options options;
  options.era = portal::Era::kJwt;
  options.access_ttl = std::chrono::seconds(86400);
  return options;
}

void report(const char* name, const Times& times, const double* waited, int count) {
  const double slowest = *std::max_element(waited, waited + count);
  std::printf(
      "  %-34s calls %d  failures %d  HTTP %7.2f ms  slowest %7.2f ms  beyond HTTP %6.2f ms\n",
      name, times.calls.load(), times.failures.load(), times.http.load(), slowest,
      slowest - times.http.load());
}

// Processes exist before the portal, whose threads would not survive a fork.
struct Address {
  char url[128] = {};
  char refresh[128] = {};
};

void ours(int count, std::chrono::milliseconds http) {
  const Scratch scratch;
  const auto registry = oauth::ProviderRegistry::load("/nonexistent");
  auto* const times = shared<Times>();
  auto* const waited = shared<double>(static_cast<std::size_t>(count));
  auto* const address = shared<Address>();
  const auto transport = std::make_shared<Timed>(*times);
  const oauth::BearerParts parts{[&]() -> const oauth::ProviderRegistry& { return registry; },
                                 transport,
                                 [=](const std::string& name) -> std::optional<std::string> {
                                   if (name != "HERMES_PORTAL_BASE_URL") return std::nullopt;
                                   return std::string(address->url);
                                 }};
  StoreOptions options = store_in(scratch);
  options.endpoint_for = oauth::endpoints(parts, system_now);
  { (void)*Store::open(options, OpenMode::create); }
  Processes processes(count, [&](int i) {
    auto source =
        std::make_shared<oauth::BearerSource>(*Store::open(options, OpenMode::use), parts);
    oauth::BearerRequest request;
    request.provider = "nous";
    (void)source->bearer(request);  // none is there yet; a process that runs has asked before
    return [=] {
      waited[i] = milliseconds([&] {
        if (!source->bearer(request)) ++times->failures;
      });
    };
  });
  portal::Portal portal(portal_options());
  portal::Fault slow;
  slow.delay_before = http;
  slow.times = 0;
  portal.add_fault(slow);
  std::snprintf(address->url, sizeof address->url, "%s", portal.base_url().c_str());
  {
    Store store = *Store::open(options, OpenMode::use);
    const auto grant = portal.create_grant();
    add_login(store, "a", Seconds{-1}, grant.refresh_token, grant.access_token);
    // So that it has a journal.
    (void)LockedCredential::acquire(store, store.list({})->front().uid, {Milliseconds(0)});
  }
  processes.run();
  report("authdb", *times, waited, count);
}

void naive(int count, std::chrono::milliseconds http) {
  const Scratch scratch;
  auto* const times = shared<Times>();
  auto* const waited = shared<double>(static_cast<std::size_t>(count));
  const auto path = scratch / "auth.json";
  rewrite(path, R"({"access_token":"","refresh_token":"r"})");
  Processes processes(count, [&](int i) {
    return [=] {
      waited[i] = milliseconds([&] {
        const WholeFileLock lock(path.string() + ".lock");
        std::ifstream in(path);
        auto json = nlohmann::json::parse(in);
        if (!json["access_token"].get<std::string>().empty()) return;
        ++times->calls;
        // Stands for the request, which is no part of what is compared.
        times->http = milliseconds([&] { std::this_thread::sleep_for(http); });
        json["access_token"] = "a";
        rewrite(path, json.dump(2));
      });
    };
  });
  processes.run();
  report("flock around a JSON file", *times, waited, count);
}

}  // namespace

int main(int argc, char** argv) {
  const int count = argc > 1 ? std::atoi(argv[1]) : 64;
  const std::chrono::milliseconds http(argc > 2 ? std::atoi(argv[2]) : 50);
  std::printf("%d processes, one expired credential (target: 1 call, slowest HTTP + 15 ms)\n",
              count);
  ours(count, http);
  naive(count, http);
}
