// A real store in a directory of its own, a clock that tests move, and a token endpoint that
// answers from a script and remembers what it was asked.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <atomic>
#include <deque>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "store/file_lock.h"
#include "store/rotation.h"
#include "store/store.h"
#include "store/timestamp.h"
#include "store/uid.h"

namespace authdb::test {

inline constexpr Instant kNoon = at_millis(1'790'000'000'000);

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "authdb-test-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline std::string file_bytes(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// As a process that was killed leaves it.
inline std::filesystem::path draft_beside(const std::filesystem::path& path) {
  return path.parent_path() / ("." + path.filename().string() + ".authdb-" + draw_uid());
}

// What the scripted server does with one request.
struct Reply {
  int status = 200;
  std::string body;
  bool before_send = false;         // the connection never stood: nothing is sent
  bool silence = false;             // sent, and no answer
  std::function<void()> meanwhile;  // runs while the request is in flight
};

inline Reply grants(const std::string& refresh, const std::string& access, int lifetime_s = 900) {
  nlohmann::json body{{"access_token", access}, {"expires_in", lifetime_s}};
  if (!refresh.empty()) body["refresh_token"] = refresh;
  return {200, body.dump(), false, false, nullptr};
}

// Shared by every endpoint a store makes, in this process.
struct Script {
  std::mutex mutex;
  std::deque<Reply> replies;
  std::vector<std::string> sent;  // the refresh tokens, in order
  TokenPolicy policy;

  Reply next(const std::string& token) {
    const std::lock_guard guard(mutex);
    sent.push_back(token);
    if (replies.empty()) return {500, "nothing scripted", false, false, nullptr};
    Reply reply = std::move(replies.front());
    replies.pop_front();
    return reply;
  }
};

class ScriptedEndpoint final : public TokenEndpoint {
 public:
  ScriptedEndpoint(std::shared_ptr<Script> script, Clock clock)
      : script_(std::move(script)), clock_(std::move(clock)) {}

  Answer send(const Secret& refresh_token, const std::function<bool()>& sent) override {
    Answer answer;
    answer.started_at = clock_();
    Reply reply = script_->next(std::string(refresh_token.reveal()));
    if (reply.before_send || !sent()) {
      answer.failure = "connection refused";
      return answer;
    }
    if (reply.meanwhile) reply.meanwhile();
    if (reply.silence) return answer;
    answer.http_status = reply.status;
    answer.complete = true;
    answer.body = Secret::copy_of(reply.body);
    return answer;
  }

  Judgement judge(const Answer& answer) const override {
    Judgement judgement;
    judgement.message = "status " + std::to_string(answer.http_status);
    const auto body = nlohmann::json::parse(answer.body.reveal(), nullptr, false);
    if (answer.http_status == 200 && body.is_object()) return judge_success(answer, body);
    if (answer.http_status == 400) {
      judgement.ruling = Ruling::rejected;
      judgement.code = body.value("error", "");
      judgement.message = body.value("error_description", "");
      judgement.reuse = judgement.message.find("reuse detected") != std::string::npos;
    } else if (answer.http_status == 429) {
      judgement.ruling = Ruling::unspent;
      judgement.retry_after = Seconds{30};
    } else if (answer.http_status == 418) {  // a refusal that no table knows
      judgement.ruling = Ruling::unspent;
      judgement.failure = FailureClass::transient;
      judgement.unknown = true;
    }
    return judgement;
  }

  TokenPolicy policy() const override { return script_->policy; }

 private:
  static Judgement judge_success(const Answer& answer, const nlohmann::json& body) {
    Judgement judgement;
    if (body.contains("error")) {
      judgement.ruling = Ruling::rejected;
      judgement.code = body.value("error", "");
      return judgement;
    }
    Grant grant;
    grant.subject.stated = body.value("sub", "");
    grant.access_token = Secret::take(body.value("access_token", ""));
    grant.refresh_token = Secret::take(body.value("refresh_token", ""));
    grant.obtained_at = answer.started_at;
    grant.expires_at = answer.started_at + Seconds(body.value("expires_in", 900));
    const bool usable = !grant.access_token.empty();
    judgement.ruling = usable ? Ruling::granted : Ruling::uncertain;
    if (usable || !grant.refresh_token.empty()) judgement.grant = std::move(grant);
    return judgement;
  }

  std::shared_ptr<Script> script_;
  Clock clock_;
};

class StoreTest : public ::testing::Test {
 protected:
  StoreOptions options() {
    StoreOptions made;
    made.path = dir_.path() / "store" / "auth.db";
    made.key_file = dir_.path() / "config" / "seal.key";
    made.clock = [now = now_] { return Instant(Milliseconds(now->load())); };
    made.endpoint_for = [script = script_, clock = made.clock](const Identity&) {
      return std::make_unique<ScriptedEndpoint>(script, clock);
    };
    made.lock_wait = Milliseconds(5000);
    return made;
  }

  Store open(OpenMode mode = OpenMode::create) {
    auto store = Store::open(options(), mode);
    EXPECT_TRUE(store) << (store ? "" : store.error().message);
    return std::move(*store);
  }

  void advance(Milliseconds by) { now_->fetch_add(by.count()); }
  Instant now() const { return Instant(Milliseconds(now_->load())); }
  std::filesystem::path database() { return dir_.path() / "store" / "auth.db"; }
  std::filesystem::path journal(const Uid& uid) {
    return dir_.path() / "store" / "auth.db.d" / uid.substr(0, 2) / uid;
  }

  // A login with `refresh` as its first refresh token, living `life`.
  static CredentialChange login(const std::string& label, const std::string& access,
                                const std::string& refresh, Instant at,
                                Seconds life = Seconds(900)) {
    CredentialChange change;
    change.identity.emplace();
    change.identity->provider = "nous";
    change.identity->label = label;
    change.grant.emplace();
    change.grant->access_token = Secret::copy_of(access);
    change.grant->refresh_token = Secret::copy_of(refresh);
    change.grant->obtained_at = at;
    change.grant->expires_at = at + life;
    change.origin = Origin::login;
    change.kind = AttemptKind::login;
    change.bindings.push_back({"default", {}});
    return change;
  }

  Uid add(Store& store, CredentialChange change) {
    Change all;
    all.credentials.push_back(std::move(change));
    const auto applied = store.apply(all);
    EXPECT_TRUE(applied) << (applied ? "" : applied.error().message);
    return applied ? applied->uids.at(0) : Uid();
  }
  Uid add_login(Store& store, const std::string& name = "a") {
    return add(store, login(name, "access-" + name + "-1", "refresh-" + name + "-1", now()));
  }

  void will(Reply reply) {
    const std::lock_guard guard(script_->mutex);
    script_->replies.push_back(std::move(reply));
  }
  const std::vector<std::string>& sent() const { return script_->sent; }

  static std::string text(const Secret& secret) { return std::string(secret.reveal()); }
  static TokenHash hash(const std::string& token) { return token_hash(std::string_view(token)); }

  TemporaryDirectory dir_;
  std::shared_ptr<std::atomic<std::int64_t>> now_ =
      std::make_shared<std::atomic<std::int64_t>>(to_millis(kNoon));
  std::shared_ptr<Script> script_ = std::make_shared<Script>();
};

}  // namespace authdb::test
