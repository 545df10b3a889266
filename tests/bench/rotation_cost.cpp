// What a rotation costs beyond its HTTP request, and a fresh bearer without one.
//
//   rotation_cost [ROUNDS]
//
// Each round times, one after another so that the machine's mood meets all alike: one fdatasync of
// a preallocated file, rotate() with an endpoint that answers at once, a JSON file rewritten under
// one lock, and one UPDATE in SQLite (WAL, FULL) that protects nothing.
#include <sqlite3.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "oauth/bearer.h"
#include "store/rotation.h"
#include "tests/bench/measure.h"

namespace {

using namespace authdb;
using namespace authdb::bench;

class InstantEndpoint final : public TokenEndpoint {
 public:
  Answer send(const Secret&, const std::function<bool()>& sent) override {
    Answer answer;
    if (!sent()) return answer;
    static int count = 0;
    const std::string next = std::to_string(++count);
    answer.http_status = 200;
    answer.complete = true;
    answer.started_at = system_now();
    answer.body = Secret::copy_of(R"({"refresh_token":"refresh-)" + next +
                                  R"(","access_token":"access-)" + next + "\"}");
    return answer;
  }
  Judgement judge(const Answer& answer) const override {
    const auto body = nlohmann::json::parse(answer.body.reveal());
    Judgement judgement;
    judgement.ruling = Ruling::granted;
    judgement.grant.emplace();
    judgement.grant->access_token = Secret::copy_of(body["access_token"].get<std::string>());
    judgement.grant->refresh_token = Secret::copy_of(body["refresh_token"].get<std::string>());
    judgement.grant->obtained_at = answer.started_at;
    judgement.grant->expires_at = answer.started_at + Seconds{900};
    return judgement;
  }
  TokenPolicy policy() const override { return {}; }
};

class Fdatasync {
 public:
  explicit Fdatasync(const Scratch& scratch)
      : fd_(::open((scratch / "sync").c_str(), O_RDWR | O_CREAT, 0600)) {
    const std::string zeroes(32768, '\0');
    (void)!::pwrite(fd_, zeroes.data(), zeroes.size(), 0);
    ::fsync(fd_);
  }
  void operator()() const {
    char block[4096] = {1};
    (void)!::pwrite(fd_, block, sizeof block, 4096);
    ::fdatasync(fd_);
  }

 private:
  int fd_;
};

class JsonFile {
 public:
  explicit JsonFile(const Scratch& scratch)
      : path_(scratch / "auth.json"), lock_(scratch / "auth.lock") {
    rewrite(path_, R"({"access_token":"a","refresh_token":"r","expires_at":0})");
  }
  void operator()() {
    const WholeFileLock lock(lock_);
    std::ifstream in(path_);
    auto json = nlohmann::json::parse(in);
    json["refresh_token"] = "refresh-" + std::to_string(++count_);
    rewrite(path_, json.dump(2));
  }

 private:
  std::filesystem::path path_;
  std::filesystem::path lock_;
  int count_ = 0;
};

class PlainSqlite {
 public:
  explicit PlainSqlite(const Scratch& scratch) {
    sqlite3_open((scratch / "plain.db").c_str(), &db_);
    exec(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE t(x); INSERT INTO t "
        "VALUES (0)");
  }
  void operator()() { exec("BEGIN IMMEDIATE; UPDATE t SET x = x + 1; COMMIT"); }

 private:
  void exec(const char* sql) { sqlite3_exec(db_, sql, nullptr, nullptr, nullptr); }
  sqlite3* db_ = nullptr;
};

void print(const char* name, const std::vector<double>& took, double sync) {
  const double p50 = percentile(took, 0.5);
  const double p99 = percentile(took, 0.99);
  std::printf("  %-42s p50 %7.3f ms  p99 %7.3f ms   p50 = %5.2f fdatasync\n", name, p50, p99,
              p50 / sync);
}

void rotations(int rounds) {
  const Scratch scratch;
  StoreOptions options = store_in(scratch);
  options.endpoint_for = [](const Identity&) { return std::make_unique<InstantEndpoint>(); };
  Store store = *Store::open(options, OpenMode::create);
  const Uid uid = add_login(store, "a", Seconds{900}, "refresh-0");
  const Fdatasync sync(scratch);
  JsonFile json(scratch);
  PlainSqlite sqlite(scratch);
  std::vector<double> took[4];
  for (int i = 0; i < rounds; ++i) {
    took[0].push_back(milliseconds(sync));
    took[1].push_back(milliseconds([&] {
      if (!rotate(store, uid, {.force = true})) std::exit(1);
    }));
    took[2].push_back(milliseconds([&] { json(); }));
    took[3].push_back(milliseconds([&] { sqlite(); }));
  }
  const double one = percentile(took[0], 0.5);
  std::printf(
      "A rotation beyond HTTP, %d rounds (target: p50 0.6 ms, p99 1.2 ms where fdatasync takes "
      "0.1)\n",
      rounds);
  print("fdatasync", took[0], one);
  print("rotate()", took[1], one);
  print("flock, JSON rewrite, fsync, rename", took[2], one);
  print("SQLite UPDATE, nothing else", took[3], one);
}

template <typename F>
void print_call(const char* name, F call) {
  constexpr int kCalls = 2000;
  std::vector<double> batches;
  for (int batch = 0; batch < 11; ++batch) {
    batches.push_back(milliseconds([&] {
                        for (int i = 0; i < kCalls; ++i) call();
                      }) *
                      1000 / kCalls);
  }
  std::printf("  %-42s median %6.2f us  least %6.2f us\n", name, percentile(batches, 0.5),
              percentile(batches, 0));
}

void bearers() {
  const Scratch scratch;
  Store store = *Store::open(store_in(scratch), OpenMode::create);
  const Uid uid = add_login(store, "a", Seconds{86400}, "refresh-0");
  const auto registry = oauth::ProviderRegistry::load("/nonexistent");
  oauth::BearerSource source(store, {[&]() -> const oauth::ProviderRegistry& { return registry; },
                                     nullptr, [](const std::string&) { return std::nullopt; }});
  oauth::BearerRequest named;
  named.provider = "nous";
  named.credential = uid;
  named.want_base_url = false;
  oauth::BearerRequest pooled = named;
  pooled.credential.clear();
  std::printf("A fresh bearer in process, from the database (target: 7 us)\n");
  print_call("read the row and open its seals", [&] {
    if (!store.unseal(uid)) std::exit(1);
  });
  print_call("bearer() of a credential", [&] {
    if (!source.bearer(named)) std::exit(1);
  });
  print_call("bearer() of a pool", [&] {
    if (!source.bearer(pooled)) std::exit(1);
  });
}

}  // namespace

int main(int argc, char** argv) {
  rotations(argc > 1 ? std::atoi(argv[1]) : 500);
  bearers();
}
