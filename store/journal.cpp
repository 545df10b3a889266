#include "store/journal.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <span>

#include "store/files.h"
#include "store/journal_format.h"
#include "store/timestamp.h"
#include "store/uid.h"

namespace authdb {

using namespace journal_format;

namespace {

namespace fs = std::filesystem;

// What an answer is given room for before its size is known.
constexpr std::size_t kFirstAnswer = 4096;
constexpr std::size_t kSealOverhead = 64;

Result<void> make_journal(const JournalPlace& place) {
  const fs::path path = place.path();
  if (auto made = make_private_directories(path.parent_path()); !made) return made;
  const auto created = create_durable(path, blank_journal(place));
  if (!created) return fail(created.error());
  return {};
}

Error busy_error(const JournalPlace& place, Milliseconds waited) {
  DiskHolder holder;
  const Fd file = open_to_read(place.path()).fd;
  std::string who = "another process";
  if (file && read_at(file.get(), kHolderAt, holder) && holder.pid != 0) {
    who = "process " + std::to_string(holder.pid) + " (" + get_text(holder.process) + ") on " +
          get_text(holder.host);
  }
  Error error{
      Errc::busy,
      "credential " + place.uid + " is being refreshed by " + who + "; waited " +
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

// nullopt: nothing stands there. A link counts as what it is: its lock would be another file's.
std::optional<bool> is_file(const fs::path& path) {
  struct stat st {};
  if (::lstat(path.c_str(), &st) != 0) return std::nullopt;
  return S_ISREG(st.st_mode);
}

Error no_file(const fs::path& path) {
  return damaged(path, "is no regular file (a link, a directory, a pipe)");
}

// A copy under another name: the file itself keeps its lock and those who wait for it.
Result<void> keep_copy(int fd, const fs::path& path, const fs::path& copy) {
  struct stat st {};
  if (::fstat(fd, &st) != 0) return fail(file_error("cannot look at", path, errno));
  std::vector<char> bytes(static_cast<std::size_t>(st.st_size));
  if (::pread(fd, bytes.data(), bytes.size(), 0) != st.st_size) {
    return fail(file_error("cannot read", path, EIO));
  }
  const auto made = create_durable(copy, Secret(std::move(bytes)));
  if (!made) return fail(made.error());
  return {};
}

// What older and longer records left behind two new ones, in their slots and after them. 0, or
// errno.
int clear_behind(int fd, std::size_t payload) {
  if (!fits_in_slot(payload)) return 0;
  const std::size_t used = sizeof(DiskRecord) + payload;
  const std::string zeroes(kSlotSize - used, '\0');
  for (int slot = 0; slot < 2; ++slot) {
    const int error = write_all(fd, zeroes, slot_at(slot) + static_cast<off_t>(used));
    if (error != 0) return error;
  }
  return ::ftruncate(fd, static_cast<off_t>(kFileSize)) == 0 ? 0 : errno;
}

}  // namespace

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
  if (!is_file(path).value_or(false)) return keys;
  const Fd file = open_to_read(path).fd;
  if (!file) return keys;
  const auto note = [&](const std::optional<CredentialState>& state) {
    if (!state) return;
    for (const Sealed* cell : {&state->grant, &state->answer}) {
      if (const auto key = key_of(*cell)) keys.push_back(*key);
    }
  };
  for (int slot = 0; slot < 2; ++slot) note(read_slot(file.get(), slot));
  if (const auto old = read_format_1(file.get())) note(old->state);
  return keys;
}

Result<Journal> Journal::acquire(const JournalPlace& place, Milliseconds wait, const Holder& self,
                                 const std::stop_token& stop) {
  const fs::path path = place.path();
  const auto found = is_file(path);
  if (found && !*found) return fail(no_file(path));
  if (!found) {
    if (auto made = make_journal(place); !made) return fail(made.error());
  }
  auto lock = FileLock::acquire(path, wait, stop);
  if (!lock) return fail(lock.error());
  if (!*lock && stop.stop_requested()) return fail(stopped_error());
  if (!*lock) return fail(busy_error(place, wait));
  Journal journal(std::move(**lock));
  if (auto loaded = journal.load(place); !loaded) return fail(loaded.error());
  if (journal.newest_revision_ == 0) {
    // Whoever made it may have died before its name was durable.
    if (auto synced = sync_directory(path.parent_path()); !synced) return fail(synced.error());
    if (auto synced = sync_directory(place.directory); !synced) return fail(synced.error());
  }
  journal.write_holder(self);
  return journal;
}

Result<Journal> Journal::look(const JournalPlace& place) {
  if (!is_file(place.path()).value_or(true)) return fail(no_file(place.path()));
  FileToRead file = open_to_read(place.path());
  if (!file && file.error == ENOENT) {
    return fail(Errc::not_found, "there is no journal of " + place.uid);
  }
  if (!file) return fail(file_error("cannot open", place.path(), file.error));
  Journal journal(std::move(file.fd));
  if (auto loaded = journal.load(place); !loaded) return fail(loaded.error());
  return journal;
}

Result<fs::path> Journal::set_aside(const JournalPlace& place, Milliseconds wait,
                                    const Holder& self,
                                    const std::function<void()>& before_it_goes) {
  const fs::path path = place.path();
  const fs::path aside = path.string() + ".damaged-" + format_compact(self.since);
  if (!is_file(path).value_or(true)) {
    // What is no file has no lock of its own. Its directory's keeps two processes from moving the
    // same name: the second would move the new journal. Who finds it taken does not wait, since a
    // process that is stopped here would hold it for ever.
    const auto directory = open_directory(path.parent_path());
    if (!directory) return fail(directory.error());
    if (::flock(directory->get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno == EWOULDBLOCK) {
        return fail(Errc::busy,
                    "another process is setting the damaged journal of " + place.uid + " aside",
                    "Nothing was changed. Try again; if that process hangs, end it.");
      }
      return fail(file_error("cannot lock", path.parent_path(), errno));
    }
    if (is_file(path).value_or(true)) return fs::path();  // somebody else was faster
    before_it_goes();
    if (::rename(path.c_str(), aside.c_str()) != 0) {
      return fail(file_error("cannot rename", path, errno));
    }
    if (auto made = make_journal(place); !made) return fail(made.error());
    return aside;
  }
  auto lock = FileLock::acquire(path, wait);
  if (!lock) return fail(lock.error());
  if (!*lock) return fail(busy_error(place, wait));
  Journal journal(std::move(**lock));
  if (journal.load(place)) return fs::path();
  if (auto kept = keep_copy(journal.fd(), path, aside); !kept) return fail(kept.error());
  before_it_goes();
  const Secret blank = blank_journal(place);
  int error = write_all(journal.fd(), blank.reveal(), 0);
  if (error == 0 && ::fsync(journal.fd()) != 0) error = errno;
  if (error != 0) return fail(file_error("cannot write", path, error));
  return aside;
}

Result<void> Journal::load(const JournalPlace& place) {
  place_ = place;
  DiskHead head;
  if (!read_at(fd(), 0, head) || head.checksum != own_checksum(head)) {
    return fail(damaged(place.path(), "is damaged"));
  }
  head_is_old_ = get_text(head.magic) == kMagicOfFormat1;
  if (!head_is_old_ && get_text(head.magic) != kMagic) {
    return fail(damaged(place.path(), "is damaged, or of a newer authdb"));
  }
  if (get_text(head.store_id) != place.store_id) {
    return fail(damaged(place.path(), "belongs to another store"));
  }
  if (get_text(head.uid) != place.uid) {
    return fail(damaged(place.path(), "belongs to another credential"));
  }
  load_slots();
  load_mark();
  load_spent();
  return {};
}

void Journal::load_slots() {
  for (int slot = 0; slot < 2; ++slot) {
    auto found = read_slot(fd(), slot);
    if (!found || found->revision <= state_.revision) continue;
    state_ = std::move(*found);
    newest_slot_ = slot;
  }
  // Whatever the head says: it may have reached the disk before the first record of ours.
  if (state_.revision == 0) {
    if (auto old = read_format_1(fd())) {
      state_ = std::move(old->state);
      newest_slot_ = old->slot;
    }
  }
  newest_revision_ = state_.revision;
}

// The mark stands apart from the records so that it can tell of an intent whose slot is damaged.
void Journal::load_mark() {
  DiskMark disk;
  const bool readable = read_at(fd(), kMarkAt, disk);
  const bool blank = readable && disk.revision == 0 && disk.checksum == Checksum{};
  const bool whole = readable && disk.checksum == own_checksum(disk) &&
                     disk.mark <= (state_.legacy ? kResolved : kSent);
  const auto revision = static_cast<std::int64_t>(disk.revision);
  if (state_.phase == Phase::intent) {
    // It is written after its record and before the sync that every request waits for: where it is
    // an older one, whoever wrote the record died in between.
    const bool older = revision < state_.revision;
    const bool unsent = older || (revision == state_.revision && disk.mark == kNotSent);
    if (!whole || !unsent) state_.phase = Phase::sent;
  }
  if (whole) newest_revision_ = std::max(newest_revision_, revision);
  // A resolved attempt has changed nothing, whatever its record said.
  lost_ = !blank && (!whole || (revision > state_.revision && disk.mark != kResolved));
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

// A write behind the limit for files (RLIMIT_FSIZE) fails, or ends the process.
int within_limit(off_t end) {
  struct rlimit limit {};
  if (::getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return 0;
  return static_cast<rlim_t>(end) <= limit.rlim_cur ? 0 : EFBIG;
}

// A file that somebody cut short gets back the length that has room for two records.
int Journal::fill_up() const {
  struct stat st {};
  if (::fstat(fd(), &st) != 0) return errno;
  const off_t missing = static_cast<off_t>(kFileSize) - st.st_size;
  if (missing <= 0) return 0;
  return write_all(fd(), std::string(static_cast<std::size_t>(missing), '\0'), st.st_size);
}

// The answer goes into the other slot than its intent. What the slot has no room for is allocated
// now, while nothing has been sent.
int Journal::make_room(const CredentialState& intent) const {
  const std::size_t last = intent.answer_size;
  const std::size_t answer = std::max(kFirstAnswer, last + last / 4) + kSealOverhead;
  const std::size_t wanted = intent.grant.size() + answer;
  if (const int error = fill_up(); error != 0) return error;
  const int slot = newest_slot_;
  const off_t end = payload_at(slot, wanted) + static_cast<off_t>(wanted);
  const int limited = within_limit(std::max(end, static_cast<off_t>(kFileSize)));
  if (limited != 0 || fits_in_slot(wanted)) return limited;
  if (::fallocate(fd(), FALLOC_FL_KEEP_SIZE, payload_at(slot, wanted),
                  static_cast<off_t>(std::min(wanted, kLongestRecord))) == 0) {
    return 0;
  }
  return errno == EOPNOTSUPP || errno == ENOSYS ? 0 : errno;
}

int Journal::write_slot(int slot, const CredentialState& state) {
  const std::vector<unsigned char> record = record_of(state);
  const std::span<const unsigned char> bytes = record;
  const std::size_t payload = record.size() - sizeof(DiskRecord);
  if (fits_in_slot(payload)) return write_all(fd(), as_text(bytes), slot_at(slot));
  if (payload > kLongestRecord) return EFBIG;
  const int error =
      write_all(fd(), as_text(bytes.subspan(sizeof(DiskRecord))), payload_at(slot, payload));
  if (error != 0) return error;
  return write_all(fd(), as_text(bytes.first(sizeof(DiskRecord))), slot_at(slot));
}

int Journal::write_mark(std::int64_t revision, std::uint64_t mark) {
  DiskMark disk{static_cast<std::uint64_t>(revision), mark, {}};
  disk.checksum = own_checksum(disk);
  return is_ours() ? write_all(fd(), as_text(bytes_of(disk)), kMarkAt) : EPERM;
}

int Journal::write_head() {
  const int error = write_all(fd(), as_text(bytes_of(head_of(place_))), 0);
  if (error == 0) head_is_old_ = false;
  return error;
}

Result<void> Journal::write(CredentialState state, bool durable) {
  if (!is_ours()) {
    return fail(Errc::unexpected, "the lock of " + place_.path().string() + " is not ours");
  }
  state.revision = std::max(state.revision, newest_revision_ + 1);
  const bool is_intent = state.phase == Phase::intent;
  const int slot = 1 - newest_slot_;
  newest_revision_ = state.revision;  // used up: after a failure it may be on disk all the same
  int error = is_intent ? make_room(state) : 0;
  if (error == 0) error = write_slot(slot, state);
  // A mark of format 1 may say what ours cannot.
  const bool old_mark = lost_ || state_.legacy;
  if (error == 0 && (is_intent || old_mark)) error = write_mark(state.revision, kNotSent);
  if (error == 0 && head_is_old_) error = write_head();
  if (error == 0 && durable && ::fdatasync(fd()) != 0) error = errno;
  if (error != 0) return fail(file_error("cannot write", place_.path(), error));
  newest_slot_ = slot;
  state_ = std::move(state);
  lost_ = false;
  return {};
}

bool Journal::is_ours() const {
  struct stat now {};
  return lock_ && lock_->owned() && ::fstat(lock_->fd(), &now) == 0 && now.st_nlink > 0;
}

Result<void> Journal::mark_sent() {
  if (const int error = write_mark(state_.revision, kSent)) {
    return fail(file_error("cannot write", place_.path(), error));
  }
  state_.phase = Phase::sent;
  return {};
}

Result<void> Journal::rewrite(CredentialState state) {
  for (int slot = 0; slot < 2; ++slot) {
    ++state.revision;
    if (auto written = write(state, /*durable=*/true); !written) return written;
  }
  int error = clear_behind(fd(), state.grant.size() + state.answer.size());
  if (error == 0 && ::fdatasync(fd()) != 0) error = errno;
  if (error != 0) return fail(file_error("cannot write", place_.path(), error));
  return {};
}

void Journal::add_spent(const TokenHash& hash, std::int64_t generation) {
  DiskSpent entry{hash, static_cast<std::uint32_t>(generation), {}};
  entry.check = spent_check(entry);
  const auto place = static_cast<off_t>(static_cast<std::uint64_t>(generation) % kSpentEntries);
  (void)write_all(fd(), as_text(bytes_of(entry)),
                  kSpentAt + place * static_cast<off_t>(sizeof(DiskSpent)));
  spent_.emplace_back(hash, generation);
}

Result<void> Journal::sync() {
  if (::fsync(fd()) != 0) return fail(file_error("cannot sync", place_.path(), errno));
  return sync_directory(place_.path().parent_path());
}

}  // namespace authdb
