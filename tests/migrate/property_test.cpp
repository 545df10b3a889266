// Promises that hold for any files, tried on generated ones. Seeds are fixed, so a failure repeats.
#include <map>
#include <random>
#include <set>

#include "migrate/readers.h"
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
