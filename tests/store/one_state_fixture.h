// A login that has been rotated once, older databases that are put back beside its journal, and
// what the next process makes of it.
#pragma once

#include "tests/store/attempt_fixture.h"
#include "tests/store/rotated_fixture.h"

namespace authdb::test {

class OneStateTest : public RotatedTest {
 protected:
  void SetUp() override {
    RotatedTest::SetUp();
    script_->sent.clear();
  }
  void rotate_to(int generation) {
    RotatedTest::rotate_to(generation);
    script_->sent.clear();
  }

  Uid add_second_login() {
    Store store = open(OpenMode::use);
    return add_login(store, "b");
  }
  void rotate_second_login(const Uid& uid) {
    Store store = open(OpenMode::use);
    will(grants("refresh-b-2", "access-b-2"));
    ASSERT_TRUE(rotate(store, uid, {.force = true}));
  }

  // auth.db as it stands, its log folded in.
  std::string copy_of_database() {
    {
      Store store = open(OpenMode::use);
      EXPECT_TRUE(store.add_profile("p" + std::to_string(++copies_)));  // checkpoints at close
    }
    return file_bytes(database());
  }
  void put_back(const std::string& copy) {
    for (const char* suffix : {"-wal", "-shm"})
      std::filesystem::remove(database().string() + suffix);
    std::ofstream(database(), std::ios::binary | std::ios::trunc) << copy;
  }

  Result<LockedCredential> lock(const Store& store) {
    return LockedCredential::acquire(store, uid_, {Milliseconds(0)});
  }
  void put_on_hold(Hold hold) {
    Store store = open(OpenMode::use);
    auto locked = lock(store);
    ASSERT_TRUE(locked) << locked.error().message;
    ASSERT_TRUE(LockedCredential::set_hold({&*locked}, hold));
  }
  Result<Rotated> refresh(RotateRequest request = {.force = true}) {
    Store store = open(OpenMode::use);
    return rotate(store, uid_, request);
  }
  Result<Applied> undo(std::int64_t generation = 2) {
    Store store = open(OpenMode::use);
    CredentialChange change;
    change.uid = uid_;
    change.planned_against = generation;
    change.restore = true;
    Change all;
    all.credentials.push_back(std::move(change));
    return store.apply(all);
  }
  Result<Applied> log_in(const std::string& refresh) {
    Store store = open(OpenMode::use);
    return log_in(refresh, store);
  }
  Result<Applied> log_in(const std::string& refresh, Store& store) {
    CredentialChange change = login("a", "access-" + refresh, refresh, now());
    change.uid = uid_;
    change.planned_against = store.find(uid_)->generation;
    change.new_family = true;
    Change all;
    all.credentials.push_back(std::move(change));
    return store.apply(all);
  }
  // An answer that a process left in the journal when it died.
  void leave_an_answer(const Reply& reply) {
    Store store = open(OpenMode::use);
    leave_answered(*acquire_lock(store, uid_, {Milliseconds(0)}), reply.body, now());
  }
  // One that soon gives up on a database that somebody else keeps locked.
  Store open_impatient() {
    StoreOptions impatient = options();
    impatient.lock_wait = Milliseconds(20);
    return *Store::open(impatient, OpenMode::use);
  }
  // Keeps every writer out of the database.
  FileLock lock_database() {
    return std::move(**FileLock::acquire(database().string() + ".d/gate", Milliseconds(5000)));
  }
  Credential row() { return *open(OpenMode::look).find(uid_); }
  StoreOptions without_providers() {
    StoreOptions made = options();
    made.endpoint_for = {};
    return made;
  }
  std::vector<std::string> outcomes() {
    std::vector<std::string> all;
    const auto rows = open(OpenMode::look)
                          .query("SELECT outcome FROM attempt WHERE kind = 'refresh' ORDER BY id");
    for (const auto& row : rows->rows) all.push_back(std::get<std::string>(row[0]));
    return all;
  }

  int copies_ = 0;
};

}  // namespace authdb::test
