#include "tests/model/files.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "tests/model/wire.h"

namespace authdb::model {
namespace {

namespace fs = std::filesystem;

void replace_file(const fs::path& from, const fs::path& to) {
  fs::copy_file(from, to, fs::copy_options::overwrite_existing);
}

// Where neither the table nor the journal has the newest, nothing on the machine can know it.
void weigh(World& world, int who) {
  Login& login = world.books.login(who);
  if (std::max(login.in_table, login.in_journal) < login.version) world.books.forget(who);
}

Outcome nothing_to_do() {
  Outcome out;
  out.ok = true;
  return out;
}

void save_db(World& world) {
  world.close_all();
  world.fold_log();
  const fs::path file = world.home() / "saved.db";
  replace_file(world.database(), file);
  world.db_copy = table_copy(world, file);
}

void put_back_db(World& world) {
  if (!world.db_copy) return;
  world.close_all();
  replace_file(world.db_copy->file, world.database());
  for (const char* end : {"-wal", "-shm"}) fs::remove(world.database().string() + end);
  world.books.forget_rejections();
  for (int who = 0; who < world.books.count(); ++who) {
    Login& login = world.books.login(who);
    const auto known = world.db_copy->versions.find(login.uid);
    login.row_generation = 0;
    login.in_table = known == world.db_copy->versions.end() ? -1 : known->second;
    login.losses_unknown = login.ledger_unknown = true;
    login.rests_until = 0;
    login.key = -1;  // the journal has none
    if (login.in_table < 0) world.books.forget(who);
    weigh(world, who);
  }
}

void save_journal(World& world, int who) {
  const Login& login = world.books.login(who);
  if (!fs::exists(world.journal(login.uid))) return;
  const fs::path file = world.home() / "saved.journal";
  replace_file(world.journal(login.uid), file);
  world.journal_copy = Copy{file, {{login.uid, login.in_journal}}, login.uid};
}

// The journal is gone or older. What it alone knew cannot be expected any more.
void journal_forgot(Login& login) {
  login.account_known = false;
  if (login.ledger_unknown) {  // the database could not be told of a rest
    login.rest = {};
    login.may_rest = true;
  }
  login.losses_unknown = login.ledger_unknown = true;
}

// Nobody has the lock between two steps, so the file may be replaced.
void put_back_journal(World& world) {
  if (!world.journal_copy) return;
  const Uid& uid = world.journal_copy->uid;
  const int who = world.books.who_is(uid);
  if (who < 0 || !fs::exists(world.journal(uid))) return;
  replace_file(world.journal_copy->file, world.journal(uid));
  Login& login = world.books.login(who);
  login.in_journal = world.journal_copy->versions.at(uid);
  journal_forgot(login);
  weigh(world, who);
}

void lose_journal(World& world, int who) {
  Login& login = world.books.login(who);
  login.in_journal = -1;
  journal_forgot(login);
  weigh(world, who);
}

void delete_journal(World& world, int who) {
  if (!fs::remove(world.journal(world.books.login(who).uid))) return;
  lose_journal(world, who);
}

void damage_journal(World& world, int who, const Step& step) {
  const fs::path file = world.journal(world.books.login(who).uid);
  if (!fs::exists(file)) return;
  const auto size = static_cast<int>(fs::file_size(file));
  if (size == 0) return;
  if (step.arg % 2 != 0) {
    fs::resize_file(file, static_cast<std::uintmax_t>(step.seed % size));
  } else {
    const int fd = ::open(file.c_str(), O_RDWR | O_CLOEXEC);
    const off_t at = step.seed % std::min(size, 2048);
    char byte = 0;
    if (::pread(fd, &byte, 1, at) == 1) byte = static_cast<char>(byte ^ 0x41);
    [[maybe_unused]] const ssize_t wrote = ::pwrite(fd, &byte, 1, at);
    ::close(fd);
  }
  world.books.login(who).journal_damaged = true;
  lose_journal(world, who);
}

void pass_time(World& world, const Step& step) {
  work_on_late_requests(world);
  world.advance(step.arg * 1000LL);
  world.books.time_passed(world.now());
  if (step.verb == Verb::jump) world.books.clock_was_set();
}

}  // namespace

fs::path backup_file(World& world) { return world.home() / "backup.db"; }

// What the backup knows is all there will be beside the journals.
void lose_db(World& world) {
  world.close_all();
  for (const char* end : {"", "-wal", "-shm"}) fs::remove(world.database().string() + end);
  world.books.forget_rejections();
  for (int who = 0; who < world.books.count(); ++who) {
    Login& login = world.books.login(who);
    const auto known = world.backup_copy->versions.find(login.uid);
    login.in_table = known == world.backup_copy->versions.end() ? -1 : known->second;
    login.key = -1;
    login.losses_unknown = login.ledger_unknown = true;
    if (login.in_table < 0) world.books.forget(who);
    weigh(world, who);
  }
}

Copy table_copy(World& world, const fs::path& file) {
  Copy made;
  made.file = file;
  for (int who = 0; who < world.books.count(); ++who) {
    const Login& login = world.books.login(who);
    made.versions[login.uid] = login.in_table;
    made.tokens[login.uid] = login.token;
    if (login.removed) made.removed.insert(login.uid);
  }
  return made;
}

Outcome change_files(World& world, const Step& step, const Prepared& prepared) {
  switch (step.verb) {
    case Verb::save_db:
      save_db(world);
      break;
    case Verb::put_back_db:
      put_back_db(world);
      break;
    case Verb::save_journal:
      save_journal(world, prepared.who);
      break;
    case Verb::put_back_journal:
      put_back_journal(world);
      break;
    case Verb::delete_journal:
      delete_journal(world, prepared.who);
      break;
    case Verb::damage_journal:
      damage_journal(world, prepared.who, step);
      break;
    case Verb::provider_gone:
      world.provider_gone = true;
      break;
    case Verb::provider_back:
      world.provider_gone = false;
      break;
    case Verb::outsider_on:
      world.outsider_on();
      break;
    case Verb::outsider_off:
      world.outsider_off();
      break;
    case Verb::reboot:
      world.reboot();
      break;
    default:
      pass_time(world, step);
      break;
  }
  return nothing_to_do();
}

}  // namespace authdb::model
