// A store on a disk that fails, and what every test of it asks.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "tests/disk/disk.h"
#include "tests/store/store_fixture.h"

namespace authdb::test {

// Remembers the tokens whose requests really began.
class Counted final : public TokenEndpoint {
 public:
  Counted(std::unique_ptr<TokenEndpoint> real, std::vector<std::string>& begun)
      : real_(std::move(real)), begun_(begun) {}
  Answer send(const Secret& token, const std::function<bool()>& sent) override {
    return real_->send(token, [&] {
      if (!sent()) return false;
      begun_.emplace_back(token.reveal());
      return true;
    });
  }
  Judgement judge(const Answer& answer) const override { return real_->judge(answer); }
  TokenPolicy policy() const override { return real_->policy(); }

 private:
  std::unique_ptr<TokenEndpoint> real_;
  std::vector<std::string>& begun_;
};

class DiskTest : public StoreTest {
 protected:
  void SetUp() override { ::setenv("XDG_RUNTIME_DIR", runtime_.path().c_str(), 1); }
  void TearDown() override { ::unsetenv("XDG_RUNTIME_DIR"); }

  StoreOptions counted_options() {
    StoreOptions made = options();
    made.endpoint_for = [real = made.endpoint_for, this](const Identity& identity) {
      return std::make_unique<Counted>(real(identity), begun_);
    };
    return made;
  }
  Result<Store> try_open(OpenMode mode = OpenMode::use) {
    return Store::open(counted_options(), mode);
  }
  Result<Rotated> rotate_now(const RotateRequest& request = {}) {
    auto store = try_open();
    if (!store) return fail(store.error());
    return rotate(*store, uid_, request);
  }

  // The only answer from here on.
  void will_only(Reply reply) {
    script_->replies.clear();
    will(std::move(reply));
  }

  // A credential whose access token is over. It was rotated `rotations` times, so that there is a
  // journal or not.
  void make_store(int rotations) {
    Store store = open();
    uid_ = add_login(store);
    advance(Seconds(901));
    for (int i = 0; i < rotations; ++i) {
      const std::string next = std::to_string(i + 2);
      will(grants("refresh-a-" + next, "access-a-" + next));
      ASSERT_TRUE(rotate(store, uid_, {}));
      advance(Seconds(901));
    }
    generation_ = rotations + 1;
    script_->sent.clear();
  }
  // As if it had been imported.
  void forget_journal() {
    std::filesystem::remove_all(dir_.path() / "store" / "auth.db.d" / uid_.substr(0, 2));
  }
  // As make_store(1), and its last answer was too long for a slot of the journal: before the next
  // token is sent, room is made for as much.
  void make_store_with_a_long_answer() {
    make_store(0);
    will(padded(granting(1), 12'000));
    ASSERT_TRUE(rotate_now());
    generation_ += 1;
    advance(Seconds(901));
    script_->sent.clear();
    begun_.clear();
  }
  static Reply padded(Reply reply, std::size_t padding) {
    reply.body.insert(1, R"("padding":")" + std::string(padding, 'p') + R"(",)");
    return reply;
  }
  // The token that comes `later` rotations after that.
  std::string refresh_token(int later) const {
    return "refresh-a-" + std::to_string(generation_ + later);
  }
  Reply granting(int later) const {
    const std::string number = std::to_string(generation_ + later);
    return grants("refresh-a-" + number, "access-a-" + number);
  }

  TemporaryDirectory runtime_;      // on another disk than the store
  std::vector<std::string> begun_;  // the tokens that were sent
  Uid uid_;
  int generation_ = 1;
};

}  // namespace authdb::test
