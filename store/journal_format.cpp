#include "store/journal_format.h"

#include <sodium.h>

#include <cstring>
#include <vector>

namespace authdb::journal_format {

namespace {

constexpr std::size_t kInSlot = kSlotSize - sizeof(DiskRecord);

}  // namespace

Checksum checksum_of(std::span<const unsigned char> bytes) {
  Checksum sum{};
  crypto_generichash(sum.data(), sum.size(), bytes.data(), bytes.size(), nullptr, 0);
  return sum;
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

}  // namespace authdb::journal_format
