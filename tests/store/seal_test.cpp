#include "store/seal.h"

#include <sys/stat.h>
#include <unistd.h>

#include "tests/store/store_fixture.h"

namespace authdb::test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class SealTest : public ::testing::Test {
 protected:
  fs::path key_file() { return dir_.path() / "config" / "seal.key"; }
  Sealer sealer() {
    EXPECT_TRUE(Sealer::create(key_file()));
    return *Sealer::load(key_file());
  }
  void write_key_file(const std::string& text) {
    fs::create_directories(key_file().parent_path());
    std::ofstream(key_file(), std::ios::binary | std::ios::trunc) << text;
    ::chmod(key_file().c_str(), 0600);
  }
  static Errc refusal(const Result<Sealer>& loaded) {
    return loaded ? Errc::unexpected : loaded.error().code;
  }

  TemporaryDirectory dir_;
};

const SealPlace kPlace{"store", "uid", "token_set.refresh_token", 7};
const std::string kLine =
    "01020304 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";
const std::string kNewerLine =
    "0a0b0c0d ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";

TEST_F(SealTest, WhatIsSealedOpensInItsPlace) {
  const Sealer keys = sealer();

  const auto opened = keys.open(keys.seal(Secret::copy_of("token"), kPlace), kPlace);

  ASSERT_TRUE(opened);
  EXPECT_EQ(opened->reveal(), "token");
}

TEST_F(SealTest, ACopiedSwappedOrRolledBackCellDoesNotOpen) {
  const Sealer keys = sealer();
  const Sealed cell = keys.seal(Secret::copy_of("token"), kPlace);

  EXPECT_FALSE(keys.open(cell, {"other", "uid", "token_set.refresh_token", 7}));
  EXPECT_FALSE(keys.open(cell, {"store", "other", "token_set.refresh_token", 7}));
  EXPECT_FALSE(keys.open(cell, {"store", "uid", "token_set.access_token", 7}));
  EXPECT_FALSE(keys.open(cell, {"store", "uid", "token_set.refresh_token", 6}));
}

TEST_F(SealTest, ACellChangedAtAnyByteDoesNotOpen) {
  const Sealer keys = sealer();
  const Sealed cell = keys.seal(Secret::copy_of("token"), kPlace);
  for (std::size_t at = 0; at < cell.size(); ++at) {
    Sealed damaged = cell;
    damaged[at] ^= 1;
    EXPECT_FALSE(keys.open(damaged, kPlace)) << at;
  }
  for (std::size_t length = 0; length < cell.size(); ++length) {
    EXPECT_FALSE(keys.open(std::span(cell).first(length), kPlace)) << length;
  }
}

TEST_F(SealTest, TheSameTextIsNeverSealedTheSameWayTwice) {
  const Sealer keys = sealer();

  EXPECT_NE(keys.seal(Secret::copy_of("token"), kPlace),
            keys.seal(Secret::copy_of("token"), kPlace));
}

TEST_F(SealTest, AKeyThatIsNotInTheFileIsNamed) {
  write_key_file(kLine);
  const Sealed cell = Sealer::load(key_file())->seal(Secret::copy_of("token"), kPlace);
  write_key_file(kNewerLine);

  const auto opened = Sealer::load(key_file())->open(cell, kPlace);

  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Errc::refused);
  EXPECT_THAT(opened.error().message, HasSubstr("01020304"));
}

TEST_F(SealTest, SealsWithTheNewestKeyAndOpensWithAny) {
  write_key_file(kLine);
  const Sealed old_cell = Sealer::load(key_file())->seal(Secret::copy_of("old"), kPlace);
  write_key_file("# a comment\n\n" + kNewerLine + kLine);

  const auto keys = Sealer::load(key_file());

  ASSERT_TRUE(keys);
  EXPECT_EQ(keys->active(), (KeyId{0x0a, 0x0b, 0x0c, 0x0d}));
  EXPECT_EQ(keys->seal(Secret::copy_of("new"), kPlace)[1], 0x0a);
  EXPECT_EQ(keys->open(old_cell, kPlace)->reveal(), "old");
}

TEST_F(SealTest, AMalformedKeyFileIsRefusedWithItsLine) {
  for (const std::string& line :
       {std::string("garbage\n"), kLine.substr(0, 40) + "\n", kLine.substr(0, 72) + "g\n",
        "0102030  " + kLine.substr(9), kLine.substr(0, 73) + "\r\n", " " + kLine,
        kLine.substr(0, 73) + " # mine\n"}) {
    write_key_file("# banner\n" + line);
    const auto loaded = Sealer::load(key_file());
    ASSERT_FALSE(loaded) << line;
    EXPECT_EQ(loaded.error().code, Errc::refused);
    EXPECT_THAT(loaded.error().message, HasSubstr("line 2"));
  }
}

TEST_F(SealTest, AKeyFileWithoutAKeyIsRefused) {
  for (const char* text : {"", "\n\n", "# only a banner\n"}) {
    write_key_file(text);
    EXPECT_EQ(refusal(Sealer::load(key_file())), Errc::refused);
  }
}

TEST_F(SealTest, AMissingKeyFileIsNamed) {
  const auto loaded = Sealer::load(key_file());

  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().code, Errc::refused);
  EXPECT_THAT(loaded.error().message, HasSubstr(key_file().string()));
}

TEST_F(SealTest, AKeyFileThatOthersCanReadIsRefusedWithTheChmod) {
  for (const mode_t mode : {0640u, 0604u, 0620u, 0602u, 0644u, 0660u}) {
    write_key_file(kLine);
    ::chmod(key_file().c_str(), mode);
    const auto loaded = Sealer::load(key_file());
    ASSERT_FALSE(loaded) << mode;
    EXPECT_EQ(loaded.error().code, Errc::refused);
    EXPECT_THAT(loaded.error().hint, HasSubstr("chmod 600"));
  }
}

TEST_F(SealTest, AKeyFileOfAnotherUserIsRefused) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can give a file away";
  write_key_file(kLine);
  ASSERT_EQ(::chown(key_file().c_str(), 65534, 65534), 0);

  EXPECT_EQ(refusal(Sealer::load(key_file())), Errc::refused);
}

TEST_F(SealTest, AKeyFileThatIsADirectoryOrHugeIsRefused) {
  fs::create_directories(key_file());
  EXPECT_EQ(refusal(Sealer::load(key_file())), Errc::refused);
  fs::remove(key_file());
  write_key_file(std::string(70'000, '#'));
  EXPECT_EQ(refusal(Sealer::load(key_file())), Errc::refused);
}

TEST_F(SealTest, ANewKeyFileIsPrivateAndNeverReplacesOne) {
  ASSERT_TRUE(Sealer::create(key_file()));
  const std::string first = file_bytes(key_file());

  ASSERT_TRUE(Sealer::create(key_file()));

  EXPECT_EQ(file_bytes(key_file()), first);
  EXPECT_EQ(fs::status(key_file()).permissions(), fs::perms::owner_read | fs::perms::owner_write);
  EXPECT_EQ(std::distance(fs::directory_iterator(key_file().parent_path()), {}), 1);
}

TEST_F(SealTest, AKeyFileNamedWithoutADirectoryIsMadeInTheWorkingDirectory) {
  const fs::path before = fs::current_path();
  fs::current_path(dir_.path());

  const auto made = Sealer::create("seal.key");

  fs::current_path(before);
  EXPECT_TRUE(made) << made.error().message;
  EXPECT_TRUE(fs::exists(dir_.path() / "seal.key"));
}

class SealedStore : public StoreTest {};

TEST_F(SealedStore, NeverGetsANewKeyWhereItsOwnIsMissing) {
  {
    Store store = open();
    add_login(store);
  }
  fs::remove(options().key_file);

  Store store = open(OpenMode::create);

  EXPECT_EQ(store.unseal(store.list({})->at(0).uid).error().code, Errc::refused);
  EXPECT_FALSE(fs::exists(options().key_file));
}

TEST_F(SealedStore, TellsAWrongKeyFromADamagedOne) {
  const Uid uid = [&] {
    Store store = open();
    return add_login(store);
  }();
  const std::string right = file_bytes(options().key_file);
  std::ofstream(options().key_file, std::ios::trunc) << kLine;
  const auto wrong = open(OpenMode::look).unseal(uid);
  std::ofstream(options().key_file, std::ios::trunc) << right.substr(0, right.size() - 9);
  const auto damaged = open(OpenMode::look).unseal(uid);

  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().code, Errc::refused);
  EXPECT_THAT(wrong.error().message, HasSubstr("does not belong"));
  ASSERT_FALSE(damaged);
  EXPECT_EQ(damaged.error().code, Errc::refused);
  EXPECT_THAT(damaged.error().message, HasSubstr("damaged at line"));
}

TEST_F(SealedStore, ACellOfAnotherRowIsRefusedAsDamageAndReplacedFromTheJournal) {
  Store store = open();
  const Uid a = add_login(store, "a");
  const Uid b = add_login(store, "b");
  const std::string swap =
      "sqlite3 " + database().string() +
      " \"UPDATE token_set SET refresh_token = (SELECT refresh_token FROM token_set WHERE "
      "credential = 1) WHERE credential = 2\"";
  ASSERT_EQ(std::system(swap.c_str()), 0);

  EXPECT_TRUE(store.unseal(a));
  const auto refused = open(OpenMode::look).unseal(b);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::refused);
  const auto mended = store.unseal(b);
  ASSERT_TRUE(mended) << mended.error().message;
  EXPECT_EQ(text(mended->refresh_token), "refresh-b-1");
}

}  // namespace
}  // namespace authdb::test
