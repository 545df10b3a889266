// What a store of very many credentials costs: bytes, looking, and rotating.
//
//   store_scale DIRECTORY CREDENTIALS [PROFILES]
//
// Makes a store of that size below DIRECTORY, which must not exist and is left for you to remove
// (5 KB for each credential), and another of 1,000, and prints each figure next to its target.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "store/rotation.h"
#include "store/store.h"
#include "store/timestamp.h"

namespace {

namespace fs = std::filesystem;
using authdb::Instant;
using authdb::Milliseconds;
using authdb::Seconds;
using authdb::Secret;
using authdb::Store;

constexpr std::size_t kBatch = 2000;
constexpr std::size_t kAccessBytes = 1200;  // a JWT with an account's claims
constexpr std::size_t kRefreshBytes = 180;

using Steady = std::chrono::steady_clock;
double microseconds_since(Steady::time_point start) {
  return std::chrono::duration<double, std::micro>(Steady::now() - start).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

template <typename F>
double median_of(int runs, F&& body) {
  std::vector<double> costs;
  for (int i = 0; i < runs; ++i) {
    const auto start = Steady::now();
    body();
    costs.push_back(microseconds_since(start));
  }
  return median(std::move(costs));
}

template <typename T>
T must(authdb::Result<T> result) {
  if (result) return std::move(*result);
  std::fprintf(stderr, "%s\n", result.error().message.c_str());
  std::exit(1);
}

std::string token(const char* kind, std::size_t i, std::size_t bytes) {
  std::string text = std::string(kind) + "_FAKE_" + std::to_string(i) + "_";
  std::minstd_rand random(static_cast<unsigned>(i) + 1);
  while (text.size() < bytes) text += static_cast<char>('a' + random() % 26);
  return text;
}

// Grants at once, so that what is measured is the store.
class Granting final : public authdb::TokenEndpoint {
 public:
  authdb::Answer send(const Secret&, const std::function<bool()>& sent) override {
    authdb::Answer answer;
    answer.started_at = authdb::system_now();
    if (!sent()) return answer;
    static std::size_t count = 1'000'000'000;
    const nlohmann::json body{{"a", token("at", ++count, kAccessBytes)},
                              {"r", token("rt", count, kRefreshBytes)}};
    answer.http_status = 200;
    answer.complete = true;
    answer.body = Secret::take(body.dump());
    return answer;
  }
  authdb::Judgement judge(const authdb::Answer& answer) const override {
    const auto body = nlohmann::json::parse(answer.body.reveal());
    authdb::Judgement judgement;
    judgement.ruling = authdb::Ruling::granted;
    judgement.grant.emplace();
    judgement.grant->access_token = Secret::take(body["a"].get<std::string>());
    judgement.grant->refresh_token = Secret::take(body["r"].get<std::string>());
    judgement.grant->obtained_at = answer.started_at;
    judgement.grant->expires_at = answer.started_at + Seconds(3600);
    return judgement;
  }
  authdb::TokenPolicy policy() const override { return {}; }
};

authdb::CredentialChange credential(std::size_t i, std::size_t profiles, Instant now) {
  constexpr const char* kProviders[] = {"nous", "openai-codex", "anthropic", "xai-oauth"};
  authdb::CredentialChange one;
  one.identity.emplace();
  one.identity->provider = kProviders[i % 4];
  one.identity->label = "user" + std::to_string(i) + "@example.org";
  one.identity->account = one.identity->label;
  one.identity->source = "device_code";
  one.identity->scope = "inference:invoke";
  one.identity->token_type = "Bearer";
  one.grant.emplace();
  one.grant->access_token = Secret::take(token("at", i, kAccessBytes));
  one.grant->refresh_token = Secret::take(token("rt", i, kRefreshBytes));
  one.grant->obtained_at = now;
  // A hundred of a million are due; the others are spread over the day to come.
  const bool due = i % 10'000 == 0;
  one.grant->expires_at =
      due ? now + Seconds(60) : now + Seconds(7200 + static_cast<std::int64_t>(i % 86'400));
  one.origin = authdb::Origin::login;
  one.kind = authdb::AttemptKind::login;
  one.bindings.push_back(
      {"profile-" + std::to_string(i % profiles), static_cast<std::int64_t>(i / profiles)});
  return one;
}

authdb::StoreOptions options(const fs::path& directory) {
  authdb::StoreOptions made;
  made.path = directory / "auth.db";
  made.key_file = directory / "config" / "seal.key";
  made.endpoint_for = [](const authdb::Identity&) { return std::make_unique<Granting>(); };
  return made;
}

std::vector<authdb::Uid> fill(Store& store, std::size_t credentials, std::size_t profiles) {
  std::vector<authdb::Uid> uids;
  const Instant now = store.now();
  for (std::size_t i = 0; i < credentials;) {
    authdb::Change change;
    for (; i < credentials && change.credentials.size() < kBatch; ++i) {
      change.credentials.push_back(credential(i, profiles, now));
    }
    auto applied = must(store.apply(change));
    uids.insert(uids.end(), applied.uids.begin(), applied.uids.end());
    std::fprintf(stderr, "\r%zu credentials", i);
  }
  std::fprintf(stderr, "\n");
  return uids;
}

double rotation_cost(Store& store, const std::vector<authdb::Uid>& uids) {
  std::minstd_rand random(7);
  const auto any = [&] { return uids[random() % uids.size()]; };
  for (int i = 0; i < 20; ++i) must(authdb::rotate(store, any(), {.force = true}));
  return median_of(300, [&] { must(authdb::rotate(store, any(), {.force = true})); });
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: store_scale DIRECTORY CREDENTIALS [PROFILES]\n");
    return 2;
  }
  const fs::path directory = argv[1];
  const auto credentials = static_cast<std::size_t>(std::strtoull(argv[2], nullptr, 10));
  const auto profiles =
      argc > 3 ? static_cast<std::size_t>(std::strtoull(argv[3], nullptr, 10)) : 1000;
  if (credentials == 0 || profiles == 0 || fs::exists(directory)) {
    std::fprintf(stderr, "DIRECTORY must not exist, and the numbers are positive\n");
    return 2;
  }

  double small = 0;
  {
    Store store = must(Store::open(options(directory / "small"), authdb::OpenMode::create));
    const auto uids = fill(store, 1000, 10);
    small = rotation_cost(store, uids);
  }
  const auto started = Steady::now();
  std::vector<authdb::Uid> uids;
  {
    Store store = must(Store::open(options(directory / "large"), authdb::OpenMode::create));
    uids = fill(store, credentials, profiles);
  }  // closed: the log is in the database
  const double filled = microseconds_since(started) / 1e6;
  const auto bytes = fs::file_size(directory / "large" / "auth.db");

  Store store = must(Store::open(options(directory / "large"), authdb::OpenMode::use));
  const auto look = [&](const char* sql) { return [&store, sql] { must(store.query(sql)); }; };
  const double summary = median_of(5, look("SELECT * FROM freshness_summary"));
  const double due =
      median_of(101, look("SELECT c.uid FROM token_set t JOIN credential c ON c.id = t.credential "
                          "WHERE t.refresh_at <= CAST(unixepoch('now') AS INTEGER) * 1000 "
                          "AND c.removed_at IS NULL ORDER BY t.refresh_at LIMIT 10"));
  const std::string profile = "profile-" + std::to_string(profiles / 2);
  const double pool = median_of(21, [&] { must(store.pool(profile, "nous")); });
  const double large = rotation_cost(store, uids);

  std::printf("%zu credentials in %zu profiles, made in %.0f s\n", credentials, profiles, filled);
  std::printf("  bytes for each        %8.0f     (target: at most 5120)\n",
              static_cast<double>(bytes) / static_cast<double>(credentials));
  std::printf("  freshness summary     %8.1f ms  (target: at most 250 ms)\n", summary / 1000);
  std::printf("  due list              %8.1f us  (target: at most 50 us)\n", due);
  std::printf("  one profile's pool    %8.1f us\n", pool);
  std::printf("  rotation              %8.1f us, %.2f times that of 1,000 (target: at most 1.5)\n",
              large, large / small);
  return 0;
}
