#include "store/journal.h"

#include <fcntl.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>

#include "store/timestamp.h"

namespace authdb {
namespace {

namespace fs = std::filesystem;

constexpr off_t kHolderAt = 512;
constexpr off_t kMarkAt = 1024;
constexpr off_t kSpentAt = 2048;
constexpr off_t kSlotAt = 12288;
constexpr std::size_t kSlotSize = 10240;
constexpr std::size_t kFileSize = 32768;
constexpr std::size_t kOverflowSize = (1 << 20) + (64 << 10);
constexpr std::size_t kSpentEntries = 256;

using Checksum = std::array<unsigned char, 16>;

template <std::size_t N>
void put_text(std::array<char, N>& field, std::string_view text) {
  field.fill('\0');
  std::copy_n(text.begin(), std::min(text.size(), N), field.begin());
}

template <std::size_t N>
std::string get_text(const std::array<char, N>& field) {
  return {field.begin(), std::find(field.begin(), field.end(), '\0')};
}

Checksum checksum_of(std::span<const unsigned char> bytes) {
  Checksum sum{};
  crypto_generichash(sum.data(), sum.size(), bytes.data(), bytes.size(), nullptr, 0);
  return sum;
}

// What stands on disk. Plain bytes without padding, each ending in its own checksum.
struct DiskHead {
  std::array<char, 17> magic{};
  std::array<char, 32> store_id{};
  std::array<char, 15> uid{};
  Checksum checksum{};
};
static_assert(sizeof(DiskHead) == 80);

struct DiskHolder {
  std::int64_t pid = 0;
  std::int64_t since = 0;
  std::array<char, 64> host{};
  std::array<char, 32> process{};
};
static_assert(sizeof(DiskHolder) == 112);

struct DiskMark {
  std::uint64_t number = 0;
  std::uint64_t mark = 0;
  Checksum checksum{};
};
static_assert(sizeof(DiskMark) == 32);

struct DiskSpent {
  TokenHash hash{};
  std::uint32_t generation = 0;
  std::array<unsigned char, 4> check{};
};
static_assert(sizeof(DiskSpent) == 40);

struct DiskRecord {
  std::uint64_t number = 0;
  std::int64_t family = 0;
  std::int64_t generation = 0;
  std::int64_t pid = 0;
  std::int64_t started_at = 0;
  std::uint64_t payload_size = 0;
  TokenHash hash{};
  TokenHash predecessor{};
  std::array<char, 36> boot_id{};
  std::array<char, 32> process{};
  std::array<char, 64> profile{};
  std::int32_t http_status = 0;
  std::uint8_t state = 0;
  std::uint8_t replay = 0;
  std::uint8_t complete = 0;
  std::uint8_t reserved = 0;
  std::uint32_t reserved2 = 0;
  Checksum checksum{};  // of all before it, and the payload
};
static_assert(sizeof(DiskRecord) == 272);

constexpr std::size_t kInSlot = kSlotSize - sizeof(DiskRecord);
constexpr std::string_view kMagic = "authdb journal 1\n";
static_assert(kMagic.size() == 17);

template <typename T>
std::span<const unsigned char> bytes_of(const T& disk) {
  static_assert(std::is_trivially_copyable_v<T>);
  return {reinterpret_cast<const unsigned char*>(&disk), sizeof(T)};
}

// Of everything before the checksum, which is the last member.
template <typename T>
Checksum own_checksum(const T& disk) {
  return checksum_of(bytes_of(disk).first(sizeof(T) - sizeof(Checksum)));
}

std::string_view as_text(std::span<const unsigned char> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

template <typename T>
bool read_at(int fd, off_t offset, T& disk) {
  return ::pread(fd, &disk, sizeof(T), offset) == static_cast<ssize_t>(sizeof(T));
}

std::array<unsigned char, 4> spent_check(const DiskSpent& entry) {
  const Checksum sum = checksum_of(bytes_of(entry).first(sizeof(DiskSpent) - 4));
  return {sum[0], sum[1], sum[2], sum[3]};
}

Checksum record_checksum(DiskRecord disk, std::span<const unsigned char> payload) {
  disk.checksum = {};
  crypto_generichash_state state;
  Checksum sum{};
  crypto_generichash_init(&state, nullptr, 0, sum.size());
  crypto_generichash_update(&state, bytes_of(disk).data(), sizeof(disk));
  crypto_generichash_update(&state, payload.data(), payload.size());
  crypto_generichash_final(&state, sum.data(), sum.size());
  return sum;
}

DiskRecord to_disk(const JournalRecord& record) {
  DiskRecord disk;
  disk.number = record.number;
  disk.family = record.family;
  disk.generation = record.generation;
  disk.pid = record.pid;
  disk.started_at = to_millis(record.started_at);
  disk.payload_size = record.payload.size();
  disk.hash = record.hash;
  disk.predecessor = record.predecessor;
  put_text(disk.boot_id, record.boot_id);
  put_text(disk.process, record.process);
  put_text(disk.profile, record.profile);
  disk.http_status = record.http_status;
  disk.state = static_cast<std::uint8_t>(record.state);
  disk.replay = record.replay ? 1 : 0;
  disk.complete = record.complete;
  disk.checksum = record_checksum(disk, record.payload);
  return disk;
}

JournalRecord from_disk(const DiskRecord& disk, Sealed payload) {
  JournalRecord record;
  record.state = static_cast<JournalState>(disk.state);
  record.number = disk.number;
  record.family = disk.family;
  record.generation = disk.generation;
  record.hash = disk.hash;
  record.predecessor = disk.predecessor;
  record.replay = disk.replay != 0;
  record.pid = disk.pid;
  record.boot_id = get_text(disk.boot_id);
  record.process = get_text(disk.process);
  record.profile = get_text(disk.profile);
  record.started_at = at_millis(disk.started_at);
  record.http_status = disk.http_status;
  record.complete = disk.complete;
  record.payload = std::move(payload);
  return record;
}

bool is_whole(const DiskRecord& disk, std::span<const unsigned char> payload) {
  return disk.number != 0 && disk.state >= 1 && disk.state <= 3 &&
         disk.checksum == record_checksum(disk, payload);
}

off_t slot_at(int slot) { return kSlotAt + slot * static_cast<off_t>(kSlotSize); }

off_t payload_at(int slot, std::size_t size) {
  if (size <= kInSlot) return slot_at(slot) + static_cast<off_t>(sizeof(DiskRecord));
  return static_cast<off_t>(kFileSize) + slot * static_cast<off_t>(kOverflowSize);
}

std::optional<JournalRecord> read_slot(int fd, int slot) {
  DiskRecord disk;
  if (!read_at(fd, slot_at(slot), disk) || disk.payload_size > kOverflowSize) return std::nullopt;
  Sealed payload(disk.payload_size);
  const ssize_t got = ::pread(fd, payload.data(), payload.size(), payload_at(slot, payload.size()));
  if (got != static_cast<ssize_t>(payload.size()) || !is_whole(disk, payload)) return std::nullopt;
  return from_disk(disk, std::move(payload));
}

// All of a new journal: its head, and zeroes that are really allocated.
Secret blank_journal(const std::string& store_id, const Uid& uid) {
  DiskHead head;
  std::copy(kMagic.begin(), kMagic.end(), head.magic.begin());
  put_text(head.store_id, store_id);
  put_text(head.uid, uid);
  head.checksum = own_checksum(head);
  std::vector<char> bytes(kFileSize, '\0');
  std::memcpy(bytes.data(), &head, sizeof(head));
  return Secret(std::move(bytes));
}

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
          "It has been kept as it is, and its token is not sent. Put the right file back; or log "
          "in and "
          "add that grant as a new credential with `authdb add PROVIDER --grant --label NAME`."};
}

}  // namespace

fs::path Journal::path_of(const fs::path& directory, const Uid& uid) {
  return directory / uid.substr(0, 2) / uid;
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
  journal.write_holder(self);
  return journal;
}

Result<void> Journal::load(const std::string& store_id, const Uid& uid, const fs::path& path) {
  DiskHead head;
  struct stat st {};
  if (::fstat(lock_.fd(), &st) != 0) return fail(file_error("cannot look at", path, errno));
  if (!read_at(lock_.fd(), 0, head) || get_text(head.magic) != kMagic ||
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
    auto found = read_slot(lock_.fd(), slot);
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
  if (!read_at(lock_.fd(), kMarkAt, disk)) {
    mark_ = JournalMark::damaged;
    return;
  }
  const bool blank = disk.number == 0 && disk.mark == 0 && disk.checksum == Checksum{};
  if (!blank && (disk.checksum != own_checksum(disk) || disk.mark < 1 || disk.mark > 2)) {
    mark_ = JournalMark::damaged;
  } else if (!blank && disk.number == record_.number) {
    mark_ = static_cast<JournalMark>(disk.mark);
  } else if (disk.number > record_.number) {
    // The intent it belongs to is lost; only a resolved one can be forgotten.
    mark_ = disk.mark == static_cast<std::uint64_t>(JournalMark::resolved) ? JournalMark::none
                                                                           : JournalMark::damaged;
    record_.number = disk.number;
  } else if (cut && record_.state != JournalState::settled) {
    mark_ = JournalMark::damaged;
  }
}

void Journal::load_spent() {
  std::vector<DiskSpent> entries(kSpentEntries);
  const ssize_t got =
      ::pread(lock_.fd(), entries.data(), sizeof(DiskSpent) * kSpentEntries, kSpentAt);
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
  (void)write_all(lock_.fd(), as_text(bytes_of(disk)),
                  kHolderAt);  // only a courtesy to those who wait
}

Result<void> Journal::write_record(JournalRecord record, bool durable) {
  if (!lock_.owned())
    return fail(Errc::unexpected, "the lock of " + path_.string() + " is not ours");
  record.number = record_.number + 1;
  const DiskRecord disk = to_disk(record);
  const int slot = slot_for(record.state);
  const off_t at = payload_at(slot, record.payload.size());
  int error = write_all(lock_.fd(), as_text(record.payload), at);
  if (error == 0) error = write_all(lock_.fd(), as_text(bytes_of(disk)), slot_at(slot));
  if (error == 0 && durable && ::fdatasync(lock_.fd()) != 0) error = errno;
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

bool Journal::write_sent() {
  DiskMark disk{record_.number, static_cast<std::uint64_t>(JournalMark::sent), {}};
  disk.checksum = own_checksum(disk);
  if (!lock_.owned() || write_all(lock_.fd(), as_text(bytes_of(disk)), kMarkAt) != 0) return false;
  mark_ = JournalMark::sent;
  return true;
}

void Journal::write_resolved() {
  DiskMark disk{record_.number, static_cast<std::uint64_t>(JournalMark::resolved), {}};
  disk.checksum = own_checksum(disk);
  if (lock_.owned()) (void)write_all(lock_.fd(), as_text(bytes_of(disk)), kMarkAt);
  mark_ = JournalMark::resolved;
}

void Journal::add_spent(const TokenHash& hash, std::int64_t generation) {
  DiskSpent entry{hash, static_cast<std::uint32_t>(generation), {}};
  entry.check = spent_check(entry);
  const auto place = static_cast<off_t>(static_cast<std::uint64_t>(generation) % kSpentEntries);
  (void)write_all(lock_.fd(), as_text(bytes_of(entry)),
                  kSpentAt + place * static_cast<off_t>(sizeof(DiskSpent)));
  spent_.emplace_back(hash, generation);
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
