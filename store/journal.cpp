#include "store/journal.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>

#include "store/journal_format.h"
#include "store/timestamp.h"
#include "store/uid.h"

namespace authdb {

using namespace journal_format;

namespace {

namespace fs = std::filesystem;

Result<void> make_journal(const fs::path& path, const std::string& store_id, const Uid& uid) {
  if (auto made = make_private_directories(path.parent_path()); !made) return made;
  const auto created = create_durable(path, blank_journal(store_id, uid));
  if (!created) return fail(created.error());
  return {};
}

Error busy_error(const fs::path& path, const Uid& uid, Milliseconds waited) {
  DiskHolder holder;
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string who = "another process";
  if (file && read_at(file.get(), kHolderAt, holder) && holder.pid != 0) {
    who = "process " + std::to_string(holder.pid) + " (" + get_text(holder.process) + ") on " +
          get_text(holder.host);
  }
  Error error{
      Errc::busy,
      "credential " + uid + " is being refreshed by " + who + "; waited " +
          std::to_string(waited.count() / 1000) + " s",
      "Nothing was changed. Try again; if that process hangs, end it: its lock goes with it."};
  if (holder.since != 0) error.message += ", held since " + format_iso(at_millis(holder.since));
  return error;
}

Error damaged(const fs::path& path, std::string_view why) {
  return {Errc::refused, "the journal " + path.string() + " " + std::string(why),
          "It has been kept as it is, and its token is not sent. Put the right file back; or let "
          "`authdb doctor --repair` set it aside, and log in again."};
}

}  // namespace

fs::path Journal::path_of(const fs::path& directory, const Uid& uid) {
  return directory / uid.substr(0, 2) / uid;
}

std::vector<Uid> Journal::all(const fs::path& directory) {
  std::vector<Uid> uids;
  std::error_code error;
  for (const auto& folder : fs::directory_iterator(directory, error)) {
    if (!folder.is_directory(error)) continue;
    for (const auto& file : fs::directory_iterator(folder.path(), error)) {
      const std::string name = file.path().filename();
      if (is_uid(name) && name.substr(0, 2) == folder.path().filename()) uids.push_back(name);
    }
  }
  std::sort(uids.begin(), uids.end());
  return uids;
}

std::vector<KeyId> Journal::keys_of(const fs::path& path) {
  std::vector<KeyId> keys;
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  for (int slot = 0; file && slot < 2; ++slot) {
    const auto record = read_slot(file.get(), slot);
    const auto key = record ? key_of(record->payload) : std::nullopt;
    if (key) keys.push_back(*key);
  }
  return keys;
}

Result<Journal> Journal::acquire(const fs::path& directory, const std::string& store_id,
                                 const Uid& uid, Milliseconds wait, const Holder& self,
                                 const std::stop_token& stop) {
  const fs::path path = path_of(directory, uid);
  std::error_code ignored;
  if (!fs::exists(path, ignored)) {
    if (auto made = make_journal(path, store_id, uid); !made) return fail(made.error());
  }
  auto lock = FileLock::acquire(path, wait, stop);
  if (!lock) return fail(lock.error());
  if (!*lock && stop.stop_requested()) return fail(stopped_error());
  if (!*lock) return fail(busy_error(path, uid, wait));
  Journal journal(std::move(**lock));
  journal.path_ = path;
  if (auto loaded = journal.load(store_id, uid, path); !loaded) return fail(loaded.error());
  if (journal.record_.number == 0) {
    // Whoever made it may have died before its name was durable.
    if (auto synced = sync_directory(path.parent_path()); !synced) return fail(synced.error());
    if (auto synced = sync_directory(directory); !synced) return fail(synced.error());
  }
  journal.write_holder(self);
  return journal;
}

Result<Journal> Journal::look(const fs::path& directory, const std::string& store_id,
                              const Uid& uid) {
  const fs::path path = path_of(directory, uid);
  Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file && errno == ENOENT) return fail(Errc::not_found, "there is no journal of " + uid);
  if (!file) return fail(file_error("cannot open", path, errno));
  Journal journal(std::move(file));
  journal.path_ = path;
  if (auto loaded = journal.load(store_id, uid, path); !loaded) return fail(loaded.error());
  return journal;
}

Result<fs::path> Journal::set_aside(const fs::path& directory, const std::string& store_id,
                                    const Uid& uid, Milliseconds wait, const Holder& self,
                                    const std::function<void()>& before_it_goes) {
  const fs::path path = path_of(directory, uid);
  auto lock = FileLock::acquire(path, wait);
  if (!lock) return fail(lock.error());
  if (!*lock) return fail(busy_error(path, uid, wait));
  Journal journal(std::move(**lock));
  journal.path_ = path;
  if (journal.load(store_id, uid, path)) return fs::path();
  before_it_goes();
  const fs::path aside = path.string() + ".damaged-" + format_compact(self.since);
  if (::link(path.c_str(), aside.c_str()) != 0 && errno != EEXIST) {
    return fail(file_error("cannot keep", path, errno));
  }
  if (auto replaced = journal.replace(blank_journal(store_id, uid)); !replaced) {
    return fail(replaced.error());
  }
  return aside;
}

Result<void> Journal::load(const std::string& store_id, const Uid& uid, const fs::path& path) {
  DiskHead head;
  struct stat st {};
  if (::fstat(fd(), &st) != 0) return fail(file_error("cannot look at", path, errno));
  if (!read_at(fd(), 0, head) || get_text(head.magic) != kMagic ||
      head.checksum != own_checksum(head)) {
    return fail(damaged(path, "is damaged"));
  }
  if (get_text(head.store_id) != store_id) return fail(damaged(path, "belongs to another store"));
  if (get_text(head.uid) != uid) return fail(damaged(path, "belongs to another credential"));
  load_slots();
  load_mark(st.st_size);
  load_spent();
  return {};
}

void Journal::load_slots() {
  for (int slot = 0; slot < 2; ++slot) {
    auto found = read_slot(fd(), slot);
    if (!found) continue;
    if (found->state == JournalState::settled && (!settled_ || settled_->number < found->number)) {
      settled_ = *found;
      settled_slot_ = slot;
    }
    if (found->number > record_.number) {
      record_ = std::move(*found);
      newest_slot_ = slot;
    }
  }
}

int Journal::slot_for(JournalState state) const {
  const bool keeps_the_grant = state != JournalState::settled && settled_.has_value();
  return 1 - (keeps_the_grant ? settled_slot_ : newest_slot_);
}

// The mark stands apart from the records so that it can tell of an intent whose slot is damaged: it
// counts for the newest record, or for a newer one that cannot be read any more.
void Journal::load_mark(off_t file_size) {
  DiskMark disk;
  const bool cut = file_size < static_cast<off_t>(kFileSize);
  if (!read_at(fd(), kMarkAt, disk)) {
    mark_ = JournalMark::damaged;
    return;
  }
  const bool blank = disk.number == 0 && disk.mark == 0 && disk.checksum == Checksum{};
  if (!blank && (disk.checksum != own_checksum(disk) || disk.mark > 2)) {
    mark_ = JournalMark::damaged;
  } else if (!blank && disk.number == record_.number) {
    mark_ = static_cast<JournalMark>(disk.mark);
  } else if (disk.number > record_.number) {
    // The record it belongs to is lost; only a resolved one can be forgotten.
    mark_ = disk.mark == static_cast<std::uint64_t>(JournalMark::resolved) ? JournalMark::none
                                                                           : JournalMark::damaged;
    record_.number = disk.number;
  } else if (cut && record_.state != JournalState::settled) {
    mark_ = JournalMark::damaged;
  }
}

void Journal::load_spent() {
  std::vector<DiskSpent> entries(kSpentEntries);
  const ssize_t got = ::pread(fd(), entries.data(), sizeof(DiskSpent) * kSpentEntries, kSpentAt);
  if (got != static_cast<ssize_t>(sizeof(DiskSpent) * kSpentEntries)) return;
  for (const DiskSpent& entry : entries) {
    if (entry.generation == 0 || entry.check != spent_check(entry)) continue;
    spent_.emplace_back(entry.hash, entry.generation);
  }
}

void Journal::write_holder(const Holder& self) {
  DiskHolder disk;
  disk.pid = self.pid;
  disk.since = to_millis(self.since);
  put_text(disk.host, self.host);
  put_text(disk.process, self.process);
  (void)write_all(fd(), as_text(bytes_of(disk)),
                  kHolderAt);  // only a courtesy to those who wait
}

Result<void> Journal::write_record(JournalRecord record, bool durable) {
  if (!is_ours()) return fail(Errc::unexpected, "the lock of " + path_.string() + " is not ours");
  record.number = record_.number + 1;
  const DiskRecord disk = to_disk(record);
  const int slot = slot_for(record.state);
  const off_t at = payload_at(slot, record.payload.size());
  int error = write_all(fd(), as_text(record.payload), at);
  if (error == 0) error = write_all(fd(), as_text(bytes_of(disk)), slot_at(slot));
  if (error == 0 && record.state == JournalState::intent) {
    error = write_mark(record.number, JournalMark::none);
  }
  if (error == 0 && durable && ::fdatasync(fd()) != 0) error = errno;
  if (error != 0) return fail(file_error("cannot write", path_, error));
  if (record.state == JournalState::settled) {
    settled_ = record;
    settled_slot_ = slot;
  }
  record_ = std::move(record);
  mark_ = JournalMark::none;
  newest_slot_ = slot;
  return {};
}

Result<void> Journal::write_intent(JournalRecord intent) {
  intent.state = JournalState::intent;
  return write_record(std::move(intent), /*durable=*/true);
}

Result<void> Journal::write_answered(JournalRecord answered) {
  answered.state = JournalState::answered;
  return write_record(std::move(answered), /*durable=*/true);
}

void Journal::write_settled(JournalRecord settled) {
  settled.state = JournalState::settled;
  (void)write_record(std::move(settled), /*durable=*/false);  // the answer before it says the same
}

int Journal::write_mark(std::uint64_t number, JournalMark mark) {
  DiskMark disk{number, static_cast<std::uint64_t>(mark), {}};
  disk.checksum = own_checksum(disk);
  return is_ours() ? write_all(fd(), as_text(bytes_of(disk)), kMarkAt) : EPERM;
}

Result<void> Journal::write_sent() {
  if (const int error = write_mark(record_.number, JournalMark::sent)) {
    return fail(file_error("cannot write", path_, error));
  }
  mark_ = JournalMark::sent;
  return {};
}

void Journal::write_resolved() {
  (void)write_mark(record_.number, JournalMark::resolved);
  mark_ = JournalMark::resolved;
}

void Journal::add_spent(const TokenHash& hash, std::int64_t generation) {
  DiskSpent entry{hash, static_cast<std::uint32_t>(generation), {}};
  entry.check = spent_check(entry);
  const auto place = static_cast<off_t>(static_cast<std::uint64_t>(generation) % kSpentEntries);
  (void)write_all(fd(), as_text(bytes_of(entry)),
                  kSpentAt + place * static_cast<off_t>(sizeof(DiskSpent)));
  spent_.emplace_back(hash, generation);
}

Result<bool> Journal::reseal(const SealAnew& seal_anew) {
  struct stat st {};
  if (::fstat(fd(), &st) != 0) return fail(file_error("cannot look at", path_, errno));
  std::vector<char> image(static_cast<std::size_t>(st.st_size));
  if (::pread(fd(), image.data(), image.size(), 0) != st.st_size) {
    return fail(file_error("cannot read", path_, EIO));
  }
  bool changed = false;
  for (int slot = 0; slot < 2; ++slot) {
    const auto record = read_slot(fd(), slot);
    if (!record || record->payload.empty()) continue;
    const Sealed fresh = seal_anew(*record);
    if (fresh == record->payload) continue;
    if (fresh.size() != record->payload.size()) {
      return fail(Errc::unexpected, "a seal changed its size in " + path_.string());
    }
    DiskRecord disk;
    std::memcpy(&disk, image.data() + slot_at(slot), sizeof(disk));
    disk.checksum = record_checksum(disk, fresh);
    std::memcpy(image.data() + slot_at(slot), &disk, sizeof(disk));
    std::copy(fresh.begin(), fresh.end(), image.begin() + payload_at(slot, fresh.size()));
    changed = true;
  }
  if (!changed) return false;
  if (auto replaced = replace(Secret(std::move(image))); !replaced) return fail(replaced.error());
  return true;
}

Result<void> Journal::replace(const Secret& image) {
  if (!is_ours()) return fail(Errc::unexpected, "the lock of " + path_.string() + " is not ours");
  const fs::path fresh = path_.string() + ".new";
  ::unlink(fresh.c_str());  // of a process that died here; nobody else is here
  const auto made = create_durable(fresh, image);
  if (!made) return fail(made.error());
  // Locked before it has the name: who waits for the old file finds that it lost its name, and
  // queues for this one.
  auto lock = FileLock::acquire(fresh, Milliseconds(0));
  if (!lock) return fail(lock.error());
  if (!*lock) return fail(Errc::unexpected, "a new journal is locked already", "");
  if (::rename(fresh.c_str(), path_.c_str()) != 0) {
    return fail(file_error("cannot replace", path_, errno));
  }
  lock_ = std::move(**lock);
  const auto number = record_.number;
  record_ = {};
  settled_.reset();
  load_slots();
  record_.number = std::max(record_.number, number);
  return sync_directory(path_.parent_path());
}

Result<void> Journal::sync() {
  if (::fsync(fd()) != 0) return fail(file_error("cannot sync", path_, errno));
  return sync_directory(path_.parent_path());
}

std::vector<unsigned char> Journal::encode(const JournalRecord& record) {
  const DiskRecord disk = to_disk(record);
  std::vector<unsigned char> bytes(sizeof(disk) + record.payload.size());
  std::memcpy(bytes.data(), &disk, sizeof(disk));
  std::copy(record.payload.begin(), record.payload.end(), bytes.begin() + sizeof(disk));
  return bytes;
}

std::optional<JournalRecord> Journal::decode(std::span<const unsigned char> bytes) {
  DiskRecord disk;
  if (bytes.size() < sizeof(disk)) return std::nullopt;
  std::memcpy(&disk, bytes.data(), sizeof(disk));
  const auto payload = bytes.subspan(sizeof(disk));
  if (payload.size() != disk.payload_size || !is_whole(disk, payload)) return std::nullopt;
  return from_disk(disk, Sealed(payload.begin(), payload.end()));
}

}  // namespace authdb
