// Runs verbs in this process, against string streams and a store of the test's own, with time and
// token endpoint in the test's hand. What a verb did is asked of a store that is opened anew.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "oauth/http.h"
#include "store/store.h"
#include "tools/command.h"

namespace authdb::cli {

// What a command left behind.
struct Ran {
  int status = -1;
  std::string out;
  std::string err;
  bool dumped_core = false;  // where a signal ended a process
};
void PrintTo(const Ran& ran, std::ostream* out);

class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(std::string_view name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

void write_file(const std::filesystem::path& path, std::string_view text);
std::string read_file(const std::filesystem::path& path);

// Answers in order, and remembers what it was asked. Fails the test when asked too often.
class ScriptedTransport : public oauth::HttpTransport {
 public:
  Answer perform(const oauth::HttpRequest& request, const std::function<bool()>& sent) override;
  void answer(int status, std::string body) { answers_.push_back({status, std::move(body)}); }
  const std::vector<std::string>& urls() const { return urls_; }
  // The refresh token of each request that had one.
  const std::vector<std::string>& sent_tokens() const { return sent_tokens_; }

  Clock clock = system_now;

 private:
  struct Scripted {
    int status;
    std::string body;
  };
  std::deque<Scripted> answers_;
  std::vector<std::string> urls_;
  std::vector<std::string> sent_tokens_;
};

// A token endpoint's answer.
struct GrantText {
  std::string access = "access-token-ALPHA-1";
  std::string refresh = "refresh-token-ALPHA-1";
  int expires_in = 3600;
  std::string scope = "inference:invoke";
  std::string more = "";  // further members, each with a comma before it
};
std::string grant_json(const GrantText& text = {});

class CommandTest : public testing::Test {
 protected:
  CommandTest();

  Ran run(std::vector<std::string> words, std::string_view input = {});
  // As run(), and fails the test unless it succeeds.
  Ran must(std::vector<std::string> words, std::string_view input = {});
  nlohmann::json must_json(std::vector<std::string> words, std::string_view input = {});

  // What is really stored, opened anew.
  Store reopen(OpenMode mode = OpenMode::look) const;
  std::vector<Credential> stored(const std::string& provider = {}) const;
  std::string stored_token(const Uid& uid) const;

  std::filesystem::path store_path() const { return dir_ / "store/auth.db"; }

  TempDir dir_;
  Instant now_ = at_millis(1'776'000'000'000);  // 2026-04-12T13:20:00Z
  std::map<std::string, std::string> env_;
  std::shared_ptr<ScriptedTransport> http_ = std::make_shared<ScriptedTransport>();
  std::shared_ptr<oauth::HttpTransport> wire_;  // instead of http_, where a test wants the real one
  Milliseconds lock_wait_ = StoreOptions{}.lock_wait;
  bool out_is_terminal_ = false;
  bool err_is_terminal_ = false;
  std::function<bool(const std::string& url)> browse_;
  std::function<Result<Secret>(std::string_view)> ask_;
};

}  // namespace authdb::cli
