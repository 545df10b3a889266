// Promises that hold for any files, tried on generated ones. Seeds are fixed, so a failure repeats.
#include <map>
#include <random>
#include <set>

#include "migrate/export.h"
#include "migrate/formats/format.h"
#include "tests/migrate/support.h"
#include "tests/store/store_fixture.h"

namespace authdb::migrate {
namespace {

using namespace authdb::migrate::testing;

// Some grants, each rotated a few times, and profiles that copied them at different moments.
class World {
 public:
  explicit World(unsigned seed) : random_(seed) {
    const int grants = pick(1, 6);
    for (int g = 0; g < grants; ++g) rotations_.push_back(pick(0, 5));
  }

  // One profile's file: any subset of the grants, each as it was at some moment.
  json file() {
    json rows = json::array();
    for (std::size_t g = 0; g < rotations_.size(); ++g) {
      if (pick(0, 2) == 0) continue;
      const int age = pick(0, rotations_[g]);
      int& newest = newest_.try_emplace(g, -1).first->second;
      newest = std::max(newest, age);
      rows.push_back(row(g, age));
      seen_.insert({g, age});
    }
    std::shuffle(rows.begin(), rows.end(), random_);
    return pool("nous", rows);
  }
  int pick(int low, int high) { return std::uniform_int_distribution<>(low, high)(random_); }

  // Grant -> the newest rotation that any file has.
  const std::map<std::size_t, int>& newest() const { return newest_; }
  const std::set<std::pair<std::size_t, int>>& seen() const { return seen_; }
  static std::string token(std::size_t grant, int age) {
    return "nrt_" + std::to_string(grant) + "_" + std::to_string(age);
  }

 private:
  // Copies are told by id; how old they are, by any of the ways that files have.
  json row(std::size_t g, int age) {
    json made = grant_row("id" + std::to_string(g), token(g, age));
    const Instant obtained = at("2026-01-01T00:00:00Z") + std::chrono::hours(24) * age;
    switch (pick(0, 3)) {
      case 0:
        made["obtained_at"] = format_iso(obtained);
        break;
      case 1:
        made["last_refresh"] = to_millis(obtained) / 1000;
        break;
      case 2:
        made["obtained_at"] = std::to_string(to_millis(obtained));
        break;
      default:
        made["expires_at_ms"] = to_millis(obtained) + 900'000;
        made["expires_in"] = "900";
    }
    made["last_status"] = pick(0, 1) ? json("exhausted") : json();
    return made;
  }

  std::mt19937 random_;
  std::vector<int> rotations_;
  std::map<std::size_t, int> newest_;
  std::set<std::pair<std::size_t, int>> seen_;
};

class GeneratedFiles : public test::StoreTest {
 protected:
  // Checks that exactly the newest token of every grant is current, and all others are retired.
  void expect_newest(Store& store, const World& world) {
    std::map<std::string, std::string> current;
    const auto rows = store.list({});
    for (const Credential& row : *rows) {
      current[row.identity.foreign_id] = text(store.unseal(row.uid)->refresh_token);
    }
    EXPECT_EQ(current.size(), world.newest().size());
    for (const auto& [grant, age] : world.newest()) {
      EXPECT_EQ(current["id" + std::to_string(grant)], World::token(grant, age));
    }
    for (const auto& [grant, age] : world.seen()) {
      const bool retired = store.retired(hash(World::token(grant, age)))->has_value();
      EXPECT_EQ(retired, age != world.newest().at(grant)) << grant << " at " << age;
    }
  }
};

TEST_F(GeneratedFiles, InAnyNumberAndOrderTheNewestPairOfEachGrantIsCurrent) {
  for (unsigned seed = 0; seed < 25; ++seed) {
    SCOPED_TRACE(seed);
    World world(seed);
    auto made = options();
    made.path = dir_.path() / std::to_string(seed) / "auth.db";
    Store store = *Store::open(made, OpenMode::create);
    const TempDir home;
    const int files = world.pick(1, 5);
    for (int f = 0; f < files; ++f) {
      home.write_json(fs::path("profiles") / std::to_string(f) / "auth.json", world.file());
      if (f + 1 != files && world.pick(0, 1) == 0) continue;  // now and then import what is there
      const auto documents = read_sources(from({home.path()}));
      const auto applied = apply(store, *documents, {});
      ASSERT_TRUE(applied) << applied.error().message;
      EXPECT_TRUE(applied->conflicts.empty());
    }
    expect_newest(store, world);
    const auto again = apply(store, *read_sources(from({home.path()})), {});
    EXPECT_TRUE(again->change.credentials.empty()) << "the same bytes twice change nothing";
  }
}

// Documents of Hermes with every kind of block and row that there is, in any spelling.
class AnyDocument {
 public:
  explicit AnyDocument(unsigned seed) : random_(seed) {}

  json make() {
    json root{{"version", pick(1, 2)}};
    if (coin()) root["novel_top"] = {{"deep", json::array({1, nullptr})}};
    if (coin()) root["active_provider"] = coin() ? json("nous") : json();
    if (coin()) root["suppressed_sources"]["copilot"] = {"gh_cli", "env:GH_TOKEN"};
    for (const char* provider : {"nous", "openai-codex", "minimax-oauth"}) block(root, provider);
    for (const char* provider : {"nous", "openai-codex", "anthropic", "openrouter", "custom:a.b"}) {
      for (int n = pick(0, 3); n > 0; --n) row(root, provider);
    }
    if (coin()) {
      root["credential_pool"]["photon"].push_back(
          json::object({{"access_token", token()}, {"issued_at", 1789000000}}));
    }
    return root;
  }

 private:
  int pick(int low, int high) { return std::uniform_int_distribution<>(low, high)(random_); }
  bool coin() { return pick(0, 1) == 0; }
  std::string token() { return "token_" + std::to_string(++tokens_); }

  json time() {
    const Instant at = at_millis(1'780'000'000'000 + std::int64_t{1000} * pick(0, 1'000'000));
    switch (pick(0, 4)) {
      case 0:
        return format_iso(at);
      case 1:
        return to_millis(at);
      case 2:
        return std::to_string(to_millis(at) / 1000);
      case 3:
        return static_cast<double>(to_millis(at)) / 1000;
      default:
        return coin() ? json() : json("last tuesday");
    }
  }

  void maybe(json& object, const char* key, const json& value) {
    if (coin()) object[key] = coin() ? value : json();
  }

  void tokens(json& object, json& tokens) {
    tokens["access_token"] = token();
    tokens["refresh_token"] = token();
    maybe(object, "obtained_at", time());
    maybe(object, "expires_at", time());
    maybe(object, "expires_in", coin() ? json(900) : json("900"));
    maybe(object, "scope", "inference:invoke");
    maybe(object, "label", "name " + std::to_string(tokens_));
    maybe(object, "tls", {{"insecure", false}, {"ca_bundle", nullptr}});
    maybe(object, "novel", {{"x", pick(0, 9)}});
  }

  // Sometimes with the row that Hermes seeds from it.
  void block(json& root, const std::string& provider) {
    json& blocks = root["providers"];
    const bool nested = provider == "openai-codex";
    switch (pick(0, 3)) {
      case 0:
        return;
      case 1:
        blocks[provider] = json::object();
        return;
      case 2:
        blocks[provider] = {{"client_id", "c"}, {"last_auth_error", {{"code", "invalid_grant"}}}};
        return;
      default:
        break;
    }
    json made = json::object();
    tokens(made, nested ? made["tokens"] : made);
    const json& held = nested ? made["tokens"] : made;
    if (coin()) {
      json seeded{{"id", "seed" + std::to_string(tokens_)},
                  {"auth_type", "oauth"},
                  {"source", provider == "minimax-oauth" ? "oauth" : "device_code"},
                  {"access_token", held["access_token"]},
                  {"refresh_token", held["refresh_token"]}};
      health(seeded);
      root["credential_pool"][provider].push_back(seeded);
    }
    if (provider == "nous" && coin())
      made["agent_key"] = coin() ? json(token()) : held["access_token"];
    blocks[provider] = made;
  }

  void health(json& row) {
    maybe(row, "last_status", coin() ? "exhausted" : coin() ? "dead" : "ok");
    maybe(row, "last_status_at", time());
    maybe(row, "last_error_code", coin() ? json(429) : json("429"));
    maybe(row, "last_error_message", "Bearer secret_in_message");
    maybe(row, "last_error_reset_at", time());
    maybe(row, "request_count", pick(0, 5));
  }

  void row(json& root, const std::string& provider) {
    json made = json::object();
    if (coin()) made["id"] = "id" + std::to_string(++tokens_);
    made["label"] = "row " + std::to_string(++tokens_);
    maybe(made, "priority", coin() ? json(pick(0, 3)) : json(std::to_string(pick(0, 3))));
    health(made);
    switch (pick(0, 4)) {
      case 0:
        made["source"] = "env:SOME_KEY_" + std::to_string(tokens_);
        made[coin() ? "access_token" : "secret_fingerprint"] = fingerprint(token_hash(token()));
        break;
      case 1:
        made["source"] = "claude_code";
        made["auth_type"] = "oauth";
        made["secret_fingerprint"] = fingerprint(token_hash(token()));
        break;
      case 2:
        made["auth_type"] = "api_key";
        made["source"] = "manual";
        made["access_token"] = token();
        break;
      default:
        made["auth_type"] = "oauth";
        made["source"] = "manual:device_code";
        tokens(made, made);
    }
    root["credential_pool"][provider].push_back(made);
  }

  std::mt19937 random_;
  int tokens_ = 0;
};

// All that a store holds of its credentials, but for what it drew itself and the old spellings.
json everything_in(const Store& store) {
  json all = json::array();
  const auto millis = [](const std::optional<Instant>& at) { return at ? to_millis(*at) : -1; };
  const auto providers = store.providers();
  for (const std::string& provider : *providers) {
    const auto pool = store.pool("default", provider);
    for (const PoolEntry& entry : *pool) {
      const Held held = *store.unseal(entry.credential.uid);
      const Credential& row = held.row;
      json extra = extra_of(*store.unseal_extra(row.uid));
      extra.erase("imprints");
      const Identity& id = row.identity;
      const Health& health = row.health;
      all.push_back({provider,
                     id.label,
                     id.source,
                     id.foreign_id,
                     id.scope,
                     id.account,
                     static_cast<int>(id.auth_type),
                     static_cast<int>(row.bearer_kind),
                     text(held.access_token),
                     text(held.refresh_token),
                     text(held.agent_key),
                     millis(row.obtained_at),
                     row.obtained_derived,
                     millis(row.expires_at),
                     static_cast<int>(row.hold),
                     static_cast<int>(health.status),
                     millis(health.status_at),
                     health.error_code.value_or(0),
                     health.error_message,
                     millis(health.cooldown_until),
                     health.request_count,
                     extra});
    }
  }
  return all;
}

class RoundTrip : public test::StoreTest {
 protected:
  Store imported(const std::string& name, const json& tree) {
    auto made = options();
    made.path = dir_.path() / name / "auth.db";
    Store store = *Store::open(made, OpenMode::create);
    const auto file = files_.write_json(fs::path(name) / "auth.json", tree);
    const auto applied = apply(store, *read_sources(from({file})), {});
    EXPECT_TRUE(applied) << applied.error().message;
    return store;
  }
  static json exported(const Store& store) {
    const auto bytes = export_document(store, {.profile = "default", .with_refresh_tokens = true});
    EXPECT_TRUE(bytes) << bytes.error().message;
    json tree = json::parse(bytes->reveal());
    tree.erase("updated_at");
    return tree;
  }

  TempDir files_;
};

TEST_F(RoundTrip, ImportExportImportIsTheIdentityOnTheStore) {
  for (unsigned seed = 0; seed < 40; ++seed) {
    SCOPED_TRACE(seed);
    const std::string name = std::to_string(seed);
    const json source = AnyDocument(seed).make();
    const Store first = imported(name + "a", source);
    const json written = exported(first);
    const Store second = imported(name + "b", written);

    EXPECT_EQ(everything_in(second), everything_in(first))
        << json::diff(everything_in(first), everything_in(second)).dump(1);
    EXPECT_EQ(exported(second), written) << json::diff(written, exported(second)).dump(1);
  }
}

TEST(DamagedFiles, AnyDamageIsReadOrRefusedAndNeverCrashes) {
  std::mt19937 random(1);
  int read = 0;
  int refused = 0;
  for (const auto& entry : fs::directory_iterator(fs::path(AUTHDB_TEST_DATA) / "samples")) {
    const std::string whole = contents(entry.path());
    for (int i = 0; i < 60; ++i) {
      std::string damaged = whole;
      for (int hits = 1 + i % 3; hits > 0; --hits) {
        damaged[random() % damaged.size()] = "\"{}[]:,0\n\\x\xff"[random() % 12];
      }
      const TempDir dir;
      std::vector<Document> documents;
      documents.push_back(read_document(dir.write("auth.json", damaged), "default"));
      ++(documents[0].failure ? refused : read);
      const auto planned = plan(documents, nullptr, {});
      ASSERT_TRUE(planned);
      const SourceReport& source = planned->sources[0];
      EXPECT_EQ(source.rows, source.imported + source.merged + source.stale +
                                 static_cast<std::int64_t>(source.skipped.size()));
    }
  }
  EXPECT_GT(read, 100);
  EXPECT_GT(refused, 100);
}

}  // namespace
}  // namespace authdb::migrate
