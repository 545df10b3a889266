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

#include "store/journal.h"

namespace authdb::journal_format {

inline constexpr off_t kHolderAt = 512;
inline constexpr off_t kMarkAt = 1024;
inline constexpr off_t kSpentAt = 2048;
inline constexpr off_t kSlotAt = 12288;
inline constexpr std::size_t kSlotSize = 10240;
inline constexpr std::size_t kFileSize = 32768;
inline constexpr std::size_t kOverflowSize = (1 << 20) + (64 << 10);
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

inline constexpr std::string_view kMagic = "authdb journal 1\n";
static_assert(kMagic.size() == 17);

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
// Of a record, whose payload stands elsewhere.
Checksum record_checksum(DiskRecord disk, std::span<const unsigned char> payload);
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

DiskRecord to_disk(const JournalRecord& record);
JournalRecord from_disk(const DiskRecord& disk, Sealed payload);
bool is_whole(const DiskRecord& disk, std::span<const unsigned char> payload);

off_t slot_at(int slot);                       // 0 or 1
off_t payload_at(int slot, std::size_t size);  // in the slot if it fits there
// nullopt if there is no whole record in it.
std::optional<JournalRecord> read_slot(int fd, int slot);

// All of a new journal: its head, and zeroes that are really allocated.
Secret blank_journal(const std::string& store_id, const Uid& uid);

}  // namespace authdb::journal_format
