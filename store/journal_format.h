// The bytes of a journal, as the layout in store/journal.h has them: what is read and written at
// which place, and the checksums that tell whether it is whole.
//
// Thread safety: functions without state.
#pragma once

#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "store/journal.h"

namespace authdb::journal_format {

inline constexpr off_t kHolderAt = 512;
inline constexpr off_t kMarkAt = 1024;
inline constexpr off_t kSpentAt = 2048;
inline constexpr off_t kSlotAt = 12288;
inline constexpr std::size_t kSlotSize = 10240;
inline constexpr std::size_t kFileSize = 32768;
inline constexpr std::size_t kLongestRecord = 2 << 20;
inline constexpr std::size_t kSpentEntries = 256;

using Checksum = std::array<unsigned char, 16>;

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

inline constexpr std::uint64_t kNotSent = 0;
inline constexpr std::uint64_t kSent = 1;
inline constexpr std::uint64_t kResolved = 2;  // of format 1: it was not spent, or nothing left

struct DiskMark {
  std::uint64_t revision = 0;
  std::uint64_t mark = kNotSent;
  Checksum checksum{};
};
static_assert(sizeof(DiskMark) == 32);

struct DiskSpent {
  TokenHash hash{};
  std::uint32_t generation = 0;
  std::array<unsigned char, 4> check{};
};
static_assert(sizeof(DiskSpent) == 40);

// One record: this, then the grant's bytes and the answer's. Times are Unix milliseconds, kNever
// where there is none.
inline constexpr std::int64_t kNever = INT64_MIN;
inline constexpr std::uint64_t kRecordFormat = 0xa0d8'0000'0000'0003;
// The same without the last two fields before the checksum: their place was the end of a longer
// `attempt_rescue`.
inline constexpr std::uint64_t kRecordFormat2 = 0xa0d8'0000'0000'0002;

struct DiskRecord {
  std::uint64_t format = 0;  // kRecordFormat, which no number of a record of format 1 reaches
  std::int64_t revision = 0;
  std::int64_t family = 0;
  std::int64_t generation = 0;
  TokenHash hash{};  // zeroes: there is no refresh token
  std::int64_t removed_at = kNever;
  std::int64_t lost_first_at = kNever;
  std::int64_t lost_last_at = kNever;
  std::int64_t lost_pid = 0;
  std::int64_t failing_since = kNever;
  std::int64_t rest_since = kNever;
  std::int64_t rest_until = kNever;
  std::int64_t refused_since = kNever;
  std::int64_t attempt_pid = 0;
  std::int64_t attempt_started_at = kNever;
  std::uint64_t grant_size = 0;
  std::uint64_t stored_answer_size = 0;
  std::uint32_t answer_size = 0;
  std::int32_t losses = 0;
  std::int32_t failures = 0;
  std::int32_t refusals = 0;
  std::int32_t http_status = 0;
  std::uint8_t phase = 0;
  std::uint8_t hold = 0;
  std::uint8_t complete = 0;
  std::uint8_t refused = 0;
  std::array<char, 32> lost_process{};
  std::array<char, 36> attempt_boot_id{};
  std::array<char, 32> attempt_process{};
  std::array<char, 64> attempt_profile{};
  std::array<char, 112> attempt_rescue{};
  std::array<char, 24> rejected{};
  std::int32_t rejections = 0;
  Checksum checksum{};  // of all before it, and what follows
};
static_assert(sizeof(DiskRecord) == 504);

inline constexpr std::string_view kMagic = "authdb journal 2\n";
inline constexpr std::string_view kMagicOfFormat1 = "authdb journal 1\n";
static_assert(kMagic.size() == 17 && kMagicOfFormat1.size() == 17);

// A text in a field of fixed size: cut if it is longer, ended by zeroes if it is shorter.
template <std::size_t N>
void put_text(std::array<char, N>& field, std::string_view text) {
  field.fill('\0');
  std::copy_n(text.begin(), std::min(text.size(), N), field.begin());
}

template <std::size_t N>
std::string get_text(const std::array<char, N>& field) {
  return {field.begin(), std::find(field.begin(), field.end(), '\0')};
}

Checksum checksum_of(std::span<const unsigned char> bytes);
// Of bytes that stand in two pieces.
Checksum checksum_of(std::span<const unsigned char> head, std::span<const unsigned char> rest);
std::array<unsigned char, 4> spent_check(const DiskSpent& entry);

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

inline std::string_view as_text(std::span<const unsigned char> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// False if the file ends before it.
template <typename T>
bool read_at(int fd, off_t offset, T& disk) {
  return ::pread(fd, &disk, sizeof(T), offset) == static_cast<ssize_t>(sizeof(T));
}

off_t slot_at(int slot);  // 0 or 1
// Of what follows a record's head, so many bytes: in the slot if it fits there.
off_t payload_at(int slot, std::size_t size);
bool fits_in_slot(std::size_t payload_size);
// The record of a state, checksum included: its head, and what follows.
std::vector<unsigned char> record_of(const CredentialState& state);
std::optional<CredentialState> state_in(std::span<const unsigned char> record);
// nullopt if there is no whole record in it.
std::optional<CredentialState> read_slot(int fd, int slot);

// What format 1 knew: settled grant, newest attempt, mark. nullopt: this is no journal of that
// format with a record in it.
struct Format1 {
  CredentialState state;
  int slot = 0;  // of the newest record
};
std::optional<Format1> read_format_1(int fd);

DiskHead head_of(const JournalPlace& place);
// All of a new journal: its head, its mark, and zeroes that are really allocated.
Secret blank_journal(const JournalPlace& place);

}  // namespace authdb::journal_format
