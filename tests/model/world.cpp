#include "tests/model/world.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <stdexcept>

#include "oauth/new_session.h"
#include "tests/model/actions.h"
#include "tests/model/providers.h"
#include "tests/model/wire.h"

namespace authdb::model {
namespace {

namespace fs = std::filesystem;

constexpr Milliseconds kHasty{5};
constexpr Milliseconds kPatient{20'000};

// The provider of each login a history begins with; two share one, so that a pool has a choice.
constexpr std::array<int, 4> kFirstLogins{kAcme, kAcme, kGracious, kMintery};

oauth::BearerParts parts_of(World& world) {
  return {[&world]() -> const oauth::ProviderRegistry& { return registry(world.provider_gone); },
          wire_of(world), [](const std::string&) { return std::nullopt; }};
}

// A hash of each 64 KiB of it.
std::string hashes_of(int fd) {
  static std::array<char, 65536> buffer;
  std::string hashes;
  for (off_t at = 0;;) {
    const ssize_t got = ::pread(fd, buffer.data(), buffer.size(), at);
    if (got <= 0) return hashes;
    const std::string_view bytes(buffer.data(), static_cast<std::size_t>(got));
    hashes +=
        std::to_string(got) + " " + std::to_string(std::hash<std::string_view>()(bytes)) + " ";
    at += got;
  }
}

}  // namespace

Acting*& acting() {
  thread_local Acting* doing = nullptr;
  return doing;
}

World::World(const fs::path& home, Verdict& verdict_to)
    : verdict(verdict_to), books(server, verdict_to), home_(home) {
  fs::create_directories(home_ / "run");
  ::chmod((home_ / "run").c_str(), 0700);
  ::setenv("XDG_RUNTIME_DIR", (home_ / "run").c_str(), 1);
}

World::~World() {
  close_all();
  for (const auto& [inode, fd] : descriptors_) ::close(fd);
}

// A step that happens at a reading of the clock happens before the time is read.
Instant World::read_clock() {
  Acting* doing = acting();
  if (doing != nullptr && doing->step.twist == Twist::in_clock && !doing->inner_done &&
      ++doing->clock_readings >= doing->step.at) {
    doing->inner_done = true;
    doing->rights.decided_at = now_;
    do_inner(*this, doing->step);
  }
  return at_millis(now_);
}

StoreOptions World::options(Milliseconds lock_wait) {
  StoreOptions made;
  made.path = database();
  made.key_file = home_ / "seal.key";
  made.clock = [this] { return read_clock(); };
  made.endpoint_for = oauth::endpoints(parts_of(*this), made.clock);
  made.lock_wait = lock_wait;
  made.boot_id = "boot-" + std::to_string(boot_);
  return made;
}

Desk& World::desk(int which) {
  auto& desk = desks_.at(static_cast<std::size_t>(which));
  if (desk) return *desk;
  auto store = Store::open(options(which == 2 ? kPatient : kHasty), OpenMode::use);
  open_failed_ = !store;
  if (!store) throw std::runtime_error("the store does not open: " + store.error().message);
  return desk.emplace(Desk{*store, oauth::BearerSource(*store, parts_of(*this))});
}

void World::close_all() {
  outsider_off();
  for (auto& desk : desks_) desk.reset();
}

void World::reboot() {
  close_all();
  ++boot_;
}

void World::outsider_on() {
  if (outsider_ != nullptr) return;
  if (::sqlite3_open(database().c_str(), &outsider_) != SQLITE_OK ||
      ::sqlite3_exec(outsider_, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr) != SQLITE_OK) {
    ::sqlite3_close(outsider_);
    outsider_ = nullptr;
  }
}

void World::outsider_off() {
  if (outsider_ == nullptr) return;
  ::sqlite3_exec(outsider_, "ROLLBACK", nullptr, nullptr, nullptr);
  ::sqlite3_close(outsider_);
  outsider_ = nullptr;
}

void World::fold_log() {
  sqlite3* database = nullptr;
  if (::sqlite3_open(this->database().c_str(), &database) == SQLITE_OK) {
    ::sqlite3_exec(database, "PRAGMA wal_checkpoint(TRUNCATE)", nullptr, nullptr, nullptr);
  }
  ::sqlite3_close(database);
}

fs::path World::journal(const Uid& uid) const {
  return home_ / "store" / "auth.db.d" / uid.substr(0, 2) / uid;
}

// A descriptor of ours is closed when nobody uses the store any more: closing one earlier would
// drop the locks that SQLite has on the file.
std::string World::state_of_files() {
  std::vector<fs::path> files{database(), database().string() + "-wal"};
  std::error_code error;
  for (const auto& entry : fs::recursive_directory_iterator(database().string() + ".d", error)) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  std::string all;
  for (const fs::path& file : files) {
    struct stat seen {};
    if (::stat(file.c_str(), &seen) != 0) continue;
    auto [it, fresh] = descriptors_.try_emplace(seen.st_ino, -1);
    if (fresh) it->second = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
    all += file.string() + "\n" + hashes_of(it->second);
  }
  return all;
}

namespace {

// The logins of the template, in the server and in the books of a world that has its files.
struct FirstLogin {
  int provider;
  int account;
  Issued issued;
  std::string label;
};

std::vector<FirstLogin> first_logins(World& world) {
  std::vector<FirstLogin> out;
  for (const int provider : kFirstLogins) {
    const int account = world.accounts++;
    out.push_back({provider, account, world.server.open_family(provider, account, kStart, 900),
                   "label-" + std::to_string(account)});
  }
  return out;
}

}  // namespace

void make_template(const fs::path& home) {
  Verdict verdict;
  World world(home, verdict);
  auto store = Store::open(world.options(kPatient), OpenMode::create);
  if (!store) throw std::runtime_error("no store to begin with: " + store.error().message);
  for (const FirstLogin& first : first_logins(world)) {
    const auto kept =
        oauth::keep_session(*store, session_of(world, first.provider, first.account, first.issued),
                            {"default", first.label});
    if (!kept) throw std::runtime_error("no login to begin with: " + kept.error().message);
  }
}

void copy_template(const fs::path& from, const fs::path& to) {
  fs::remove_all(to);
  fs::copy(from, to, fs::copy_options::recursive);
}

void seat_first_logins(World& world) {
  std::map<std::string, Uid> uids;
  const auto rows = world.desk(0).store.list({});
  if (!rows) throw std::runtime_error("the template cannot be read: " + rows.error().message);
  for (const Credential& row : *rows) uids[row.identity.label] = row.uid;
  for (const FirstLogin& first : first_logins(world)) {
    const int who =
        world.books.add_login(uids.at(first.label), first.provider, first.account, first.label);
    world.books.seat(who, first.issued.refresh, first.issued.access);
    world.books.login(who).in_table = world.books.login(who).version;
  }
}

}  // namespace authdb::model
