// Files of tools beside a store: cut over, kept supplied, handed over.
#pragma once

#include <sodium.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <thread>

#include "migrate/export.h"
#include "migrate/takeover/cutover.h"
#include "migrate/takeover/hand_over.h"
#include "migrate/takeover/projection.h"
#include "migrate/takeover/tool_lock.h"
#include "store/draft.h"
#include "store/rotation.h"
#include "tests/migrate/hermes_rules.h"
#include "tests/migrate/killed.h"
#include "tests/migrate/support.h"
#include "tests/store/store_fixture.h"

namespace authdb::migrate {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using namespace authdb::migrate::testing;

inline constexpr Milliseconds kWait{5000};

inline std::string base64url(const std::string& text) {
  std::string out(sodium_base64_encoded_len(text.size(), sodium_base64_VARIANT_URLSAFE_NO_PADDING),
                  '\0');
  sodium_bin2base64(out.data(), out.size(), reinterpret_cast<const unsigned char*>(text.data()),
                    text.size(), sodium_base64_VARIANT_URLSAFE_NO_PADDING);
  out.resize(out.size() - 1);
  return out;
}

inline std::string jwt(Instant ends, const std::string& id) {
  const json claims{{"exp", to_millis(ends) / 1000}, {"scope", "inference:invoke"}, {"jti", id}};
  return base64url(R"({"alg":"none"})") + "." + base64url(claims.dump()) + ".c2ln";
}

template <typename T>
std::optional<Errc> error_of(const Result<T>& result) {
  if (result) return std::nullopt;
  return result.error().code;
}

class CutoverTest : public test::StoreTest {
 protected:
  // A provider's block and the pool row that Hermes seeds from it.
  json nous_home(const std::string& refresh, Era era = Era::e3) const {
    const Instant ends = now() + Seconds(3600);
    json block{{"portal_base_url", "https://portal.nousresearch.com"},
               {"client_id", "hermes-cli"},
               {"scope", era == Era::e3 ? "inference:invoke" : "inference:mint_agent_key"},
               {"access_token", era == Era::e3 ? jwt(ends, refresh) : "opaque-" + refresh},
               {"refresh_token", refresh},
               {"obtained_at", format_iso(now())},
               {"expires_at", format_iso(ends)},
               {"expires_in", 3600},
               {"of_tomorrow", {{"kept", true}}}};
    if (era == Era::e3) {
      block["agent_key"] = block["access_token"];
      block["agent_key_expires_at"] = block["expires_at"];
    }
    json row = block;
    row["id"] = "a1b2c3";
    row["label"] = "ada@example.org";
    row["auth_type"] = "oauth";
    row["source"] = "device_code";
    row["priority"] = 0;
    row["last_status"] = nullptr;
    json tree = pool("nous", {row, key_row("d4e5f6", "sk-static-key")});
    tree["providers"]["nous"] = block;
    tree["active_provider"] = "nous";
    return tree;
  }
  fs::path root(const json& tree) { return home_.write_json("auth.json", tree); }
  fs::path file() const { return home_.path() / "auth.json"; }
  static json tree(const fs::path& path) { return json::parse(contents(path)); }
  json tree() const { return tree(file()); }

  CutOverOptions options_for(bool running = false) const {
    return {from({home_.path()}), running, kWait};
  }
  CutOver cut(Store& store) {
    auto done = cut_over(store, options_for());
    EXPECT_TRUE(done) << (done ? "" : done.error().message);
    return done ? std::move(*done) : CutOver();
  }
  // A store and a file as after a cut-over, whatever was there.
  void cut_over_anew() {
    fs::remove_all(database().parent_path());
    root(nous_home("rt-1"));
    Store made = open();
    cut(made);
  }
  Plan migrate(Store& store) {
    const auto documents = read_sources(from({home_.path()}));
    auto applied = apply(store, *documents, from({home_.path()}));
    EXPECT_TRUE(applied) << (applied ? "" : applied.error().message);
    return applied ? std::move(*applied) : Plan();
  }
  static Credential nous(const Store& store) {
    const auto rows = store.list({"nous", "", false});
    for (const auto& row : *rows) {
      if (row.identity.auth_type == AuthType::oauth) return row;
    }
    return {};
  }
  static std::string refresh_token(const Store& store) {
    return text(store.unseal(nous(store).uid)->refresh_token);
  }
  void refresh(Store& store, const Uid& uid, Seconds life = Seconds(3600)) {
    const std::string n = std::to_string(++refreshed_);
    will(test::grants("successor-" + n, jwt(now() + life, n), static_cast<int>(life.count())));
    const auto rotated = rotate(store, uid, {.force = true});
    ASSERT_TRUE(rotated) << rotated.error().message;
  }
  // What `keep-fresh --project` does in one round.
  void keep_fresh(Store& store) {
    const auto due = projections_due(store);
    ASSERT_TRUE(due);
    for (const auto& [at, uid] : *due) {
      if (at <= now()) refresh(store, uid);
    }
    const auto done = project(store, kWait);
    ASSERT_TRUE(done) << done.error().message;
    for (const auto& one : *done) EXPECT_EQ(one.warning, "");
  }
  std::vector<fs::path> kept() const {
    std::vector<fs::path> found;
    for (const auto& entry : fs::recursive_directory_iterator(home_.path())) {
      const auto name = entry.path().filename().string();
      if (name.find(".migrated-") != std::string::npos) found.push_back(entry.path());
    }
    return found;
  }

  // In another process, which cannot give the file its name.
  void hand_over_without_rename() {
    traced(
        [&] {
          Store store = open(OpenMode::use);
          (void)hand_over(store, file(), kWait);
        },
        [](std::uint64_t call) {
          const bool renames = call == SYS_renameat || call == SYS_renameat2;
          return renames ? Fate::fails : Fate::happens;
        });
  }

  // As a tool saves its file: by a rename, or into the file that is there.
  void tool_writes(const std::string& text, bool in_place = false) {
    if (in_place) {
      home_.write("auth.json", text);
    } else {
      fs::rename(home_.write("of the tool", text), file());
    }
  }
  // The state as after a cut-over and a refresh that the file does not show yet.
  void leave_behind() {
    cut_over_anew();
    Store store = open(OpenMode::use);
    refresh(store, nous(store).uid);
  }
  std::string tools_own_login() {
    json login = nous_home("rt-of-the-tool");
    login["providers"]["nous"]["obtained_at"] = format_iso(now() + Seconds(60));
    login["credential_pool"]["nous"][0]["obtained_at"] = format_iso(now() + Seconds(60));
    return login.dump(2);
  }
  // Runs `body` in a process of its own again and again, each time after `prepare`; before its
  // n-th call that changes a file the tool saves its login. `look` says what must be true then.
  int sweep_a_tools_write(const std::function<void()>& prepare, const std::function<void()>& body,
                          const std::function<void(const std::string& where)>& look) {
    int points = 0;
    for (const bool in_place : {false, true}) {
      for (int n = 0;; ++n) {
        prepare();
        const std::string login = tools_own_login();
        int left = n;
        traced(body, [&](std::uint64_t) {
          if (left-- == 0) tool_writes(login, in_place);
          return Fate::happens;
        });
        if (left >= 0) break;
        look((in_place ? "in place, " : "renamed, ") + std::to_string(n));
        ++points;
      }
    }
    return points;
  }
  std::vector<fs::path> displaced() const {
    std::vector<fs::path> found;
    for (const auto& entry : fs::directory_iterator(home_.path())) {
      if (entry.path().filename().string().starts_with("auth.json.displaced-")) {
        found.push_back(entry.path());
      }
    }
    return found;
  }

  TempDir home_;
  int refreshed_ = 0;
};

}  // namespace authdb::migrate
