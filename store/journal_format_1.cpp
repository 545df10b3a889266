// Reads journals of format 1, which kept a settled grant and an attempt in records of their own and
// what became of the attempt in a mark. Its first record in format 2 ends such a journal.
#include <cstring>
#include <vector>

#include "store/journal_format.h"

namespace authdb::journal_format {
namespace {

constexpr std::uint8_t kIntent = 1;  // 2: answered
constexpr std::uint8_t kSettled = 3;
constexpr std::size_t kOverflow = (1 << 20) + (64 << 10);

struct OldRecord {
  std::uint64_t number = 0;
  std::int64_t family = 0;
  std::int64_t generation = 0;
  std::int64_t pid = 0;
  std::int64_t started_at = 0;
  std::uint64_t payload_size = 0;
  TokenHash hash{};  // of the token that is sent; settled: of the grant, or zero
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
  Checksum checksum{};  // of all before it with zeroes in its place, and the payload
};
static_assert(sizeof(OldRecord) == 272);

struct Found {
  OldRecord disk;
  Sealed payload;
};

std::optional<Found> read_old_slot(int fd, int slot) {
  Found found;
  if (!read_at(fd, slot_at(slot), found.disk)) return std::nullopt;
  const std::size_t size = found.disk.payload_size;
  if (found.disk.number == 0 || found.disk.state < kIntent || found.disk.state > kSettled ||
      size > kOverflow) {
    return std::nullopt;
  }
  const bool fits = size <= kSlotSize - sizeof(OldRecord);
  const off_t at = fits
                       ? slot_at(slot) + static_cast<off_t>(sizeof(OldRecord))
                       : static_cast<off_t>(kFileSize + static_cast<std::size_t>(slot) * kOverflow);
  found.payload.resize(size);
  if (::pread(fd, found.payload.data(), size, at) != static_cast<ssize_t>(size)) {
    return std::nullopt;
  }
  OldRecord blank = found.disk;
  blank.checksum = {};
  if (found.disk.checksum != checksum_of(bytes_of(blank), found.payload)) return std::nullopt;
  return found;
}

void put_grant(CredentialState& state, Found settled) {
  state.family = settled.disk.family;
  state.generation = settled.disk.generation;
  state.hash.reset();
  if (settled.disk.hash != TokenHash{}) state.hash = settled.disk.hash;
  state.grant = std::move(settled.payload);
}

void put_note(CredentialState& state, const OldRecord& disk) {
  state.attempt.pid = disk.pid;
  state.attempt.started_at = at_millis(disk.started_at);
  state.attempt.boot_id = get_text(disk.boot_id);
  state.attempt.process = get_text(disk.process);
  state.attempt.profile = get_text(disk.profile);
  state.attempt.http_status = disk.http_status;
  state.attempt.complete = disk.complete != 0;
}

// What the mark says of the newest record, which is an intent.
Phase phase_of_intent(int fd, std::uint64_t number) {
  DiskMark mark;
  const bool whole = read_at(fd, kMarkAt, mark) && mark.checksum == own_checksum(mark);
  if (!whole || mark.revision != number) return Phase::sent;
  if (mark.mark == kResolved) return Phase::idle;
  return mark.mark == kNotSent ? Phase::intent : Phase::sent;
}

// The attempt is of the token that it names.
void put_attempt(CredentialState& state, int fd, Found attempt) {
  const OldRecord& disk = attempt.disk;
  if (disk.generation != state.generation) state.grant.clear();
  state.family = disk.family;
  state.generation = disk.generation;
  state.hash = disk.hash;
  put_note(state, disk);
  if (disk.state == kIntent) {
    state.phase = phase_of_intent(fd, disk.number);
  } else {
    state.phase = Phase::answered;
    state.answer = std::move(attempt.payload);
  }
}

}  // namespace

std::optional<Format1> read_format_1(int fd) {
  std::optional<Found> newest;
  std::optional<Found> settled;
  Format1 out;
  for (int slot = 0; slot < 2; ++slot) {
    auto found = read_old_slot(fd, slot);
    if (!found) continue;
    const bool is_settled = found->disk.state == kSettled;
    if (is_settled && (!settled || settled->disk.number < found->disk.number)) settled = found;
    if (newest && newest->disk.number > found->disk.number) continue;
    newest = std::move(found);
    out.slot = slot;
  }
  if (!newest) return std::nullopt;
  CredentialState& state = out.state;
  state.legacy = true;
  state.revision = static_cast<std::int64_t>(newest->disk.number);
  if (settled) put_grant(state, std::move(*settled));
  if (newest->disk.state != kSettled) put_attempt(state, fd, std::move(*newest));
  return out;
}

}  // namespace authdb::journal_format
