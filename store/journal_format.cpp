#include "store/journal_format.h"

#include <sodium.h>

#include <cstring>

namespace authdb::journal_format {

namespace {

constexpr std::size_t kInSlot = kSlotSize - sizeof(DiskRecord);

std::int64_t to_disk(std::optional<Instant> at) { return at ? to_millis(*at) : kNever; }
std::optional<Instant> from_disk(std::int64_t at) {
  return at == kNever ? std::nullopt : std::optional(at_millis(at));
}

void put_renewal(DiskRecord& disk, const Renewal& renewal) {
  const Losses& losses = renewal.losses;
  disk.losses = losses.count;
  disk.lost_first_at = to_millis(losses.first_at);
  disk.lost_last_at = to_millis(losses.last_at);
  disk.lost_pid = losses.pid;
  put_text(disk.lost_process, losses.process);
  disk.failures = renewal.failures;
  disk.failing_since = to_disk(renewal.failing_since);
  disk.rest_since = to_disk(renewal.rest_since);
  disk.rest_until = to_disk(renewal.rest_until);
  disk.refusals = renewal.refusals;
  disk.refused_since = to_disk(renewal.refused_since);
  disk.refused = renewal.refused ? 1 : 0;
  put_text(disk.rejected, renewal.rejected);
  disk.rejections = renewal.rejections;
}

Renewal get_renewal(const DiskRecord& disk) {
  Renewal renewal;
  renewal.revision = disk.revision;
  renewal.losses = {disk.losses, at_millis(disk.lost_first_at), disk.lost_pid,
                    get_text(disk.lost_process), at_millis(disk.lost_last_at)};
  renewal.failures = disk.failures;
  renewal.failing_since = from_disk(disk.failing_since);
  renewal.rest_since = from_disk(disk.rest_since);
  renewal.rest_until = from_disk(disk.rest_until);
  renewal.refusals = disk.refusals;
  renewal.refused_since = from_disk(disk.refused_since);
  renewal.refused = disk.refused != 0;
  if (disk.format == kRecordFormat2) return renewal;
  renewal.rejected = get_text(disk.rejected);
  renewal.rejections = disk.rejections;
  return renewal;
}

void put_attempt(DiskRecord& disk, const AttemptNote& attempt) {
  disk.attempt_pid = attempt.pid;
  disk.attempt_started_at = to_millis(attempt.started_at);
  put_text(disk.attempt_boot_id, attempt.boot_id);
  put_text(disk.attempt_process, attempt.process);
  put_text(disk.attempt_profile, attempt.profile);
  // A path that was cut would be another one.
  const bool fits = attempt.rescue.size() <= disk.attempt_rescue.size();
  put_text(disk.attempt_rescue, fits ? attempt.rescue : std::string());
  disk.http_status = attempt.http_status;
  disk.complete = attempt.complete ? 1 : 0;
}

AttemptNote get_attempt(const DiskRecord& disk) {
  AttemptNote attempt;
  attempt.pid = disk.attempt_pid;
  attempt.started_at = at_millis(disk.attempt_started_at);
  attempt.boot_id = get_text(disk.attempt_boot_id);
  attempt.process = get_text(disk.attempt_process);
  attempt.profile = get_text(disk.attempt_profile);
  attempt.rescue = get_text(disk.attempt_rescue);
  attempt.http_status = disk.http_status;
  attempt.complete = disk.complete != 0;
  return attempt;
}

DiskRecord head_of_record(const CredentialState& state) {
  DiskRecord disk;
  disk.format = kRecordFormat;
  disk.revision = state.revision;
  disk.family = state.family;
  disk.generation = state.generation;
  disk.hash = state.hash.value_or(TokenHash{});
  disk.removed_at = to_disk(state.removed_at);
  // That it was sent is what the mark says.
  disk.phase = static_cast<std::uint8_t>(state.phase == Phase::sent ? Phase::intent : state.phase);
  disk.hold = static_cast<std::uint8_t>(state.hold);
  put_renewal(disk, state.renewal);
  put_attempt(disk, state.attempt);
  disk.grant_size = state.grant.size();
  disk.stored_answer_size = state.answer.size();
  disk.answer_size = state.answer_size;
  return disk;
}

Checksum record_checksum(const DiskRecord& disk, std::span<const unsigned char> payload) {
  return checksum_of(bytes_of(disk).first(sizeof(DiskRecord) - sizeof(Checksum)), payload);
}

// False also where the sizes in it make no sense.
bool is_plausible(const DiskRecord& disk) {
  const bool known = disk.format == kRecordFormat || disk.format == kRecordFormat2;
  return known && disk.revision > 0 && disk.grant_size <= kLongestRecord &&
         disk.stored_answer_size <= kLongestRecord &&
         disk.phase <= static_cast<std::uint8_t>(Phase::answered) &&
         disk.hold <= static_cast<std::uint8_t>(Hold::handed_over);
}

std::size_t payload_size(const DiskRecord& disk) {
  return disk.grant_size + disk.stored_answer_size;
}

CredentialState state_of_record(const DiskRecord& disk, std::span<const unsigned char> payload) {
  CredentialState state;
  state.revision = disk.revision;
  state.family = disk.family;
  state.generation = disk.generation;
  if (disk.hash != TokenHash{}) state.hash = disk.hash;
  state.removed_at = from_disk(disk.removed_at);
  state.phase = static_cast<Phase>(disk.phase);
  state.hold = static_cast<Hold>(disk.hold);
  state.renewal = get_renewal(disk);
  state.attempt = get_attempt(disk);
  state.answer_size = disk.answer_size;
  const auto grant = payload.first(disk.grant_size);
  const auto answer = payload.subspan(disk.grant_size);
  state.grant.assign(grant.begin(), grant.end());
  state.answer.assign(answer.begin(), answer.end());
  return state;
}

}  // namespace

Checksum checksum_of(std::span<const unsigned char> head, std::span<const unsigned char> rest) {
  crypto_generichash_state state;
  Checksum sum{};
  crypto_generichash_init(&state, nullptr, 0, sum.size());
  crypto_generichash_update(&state, head.data(), head.size());
  crypto_generichash_update(&state, rest.data(), rest.size());
  crypto_generichash_final(&state, sum.data(), sum.size());
  return sum;
}

Checksum checksum_of(std::span<const unsigned char> bytes) { return checksum_of(bytes, {}); }

std::array<unsigned char, 4> spent_check(const DiskSpent& entry) {
  const Checksum sum = checksum_of(bytes_of(entry).first(sizeof(DiskSpent) - 4));
  return {sum[0], sum[1], sum[2], sum[3]};
}

off_t slot_at(int slot) { return kSlotAt + slot * static_cast<off_t>(kSlotSize); }

bool fits_in_slot(std::size_t payload_size) { return payload_size <= kInSlot; }

off_t payload_at(int slot, std::size_t size) {
  if (fits_in_slot(size)) return slot_at(slot) + static_cast<off_t>(sizeof(DiskRecord));
  return static_cast<off_t>(kFileSize) + slot * static_cast<off_t>(kLongestRecord);
}

std::vector<unsigned char> record_of(const CredentialState& state) {
  DiskRecord disk = head_of_record(state);
  std::vector<unsigned char> record(sizeof(disk));
  record.reserve(sizeof(disk) + payload_size(disk));
  record.insert(record.end(), state.grant.begin(), state.grant.end());
  record.insert(record.end(), state.answer.begin(), state.answer.end());
  disk.checksum = record_checksum(disk, std::span(record).subspan(sizeof(disk)));
  std::memcpy(record.data(), &disk, sizeof(disk));
  return record;
}

std::optional<CredentialState> state_in(std::span<const unsigned char> record) {
  DiskRecord disk;
  if (record.size() < sizeof(disk)) return std::nullopt;
  std::memcpy(&disk, record.data(), sizeof(disk));
  const auto payload = record.subspan(sizeof(disk));
  if (!is_plausible(disk) || payload.size() != payload_size(disk)) return std::nullopt;
  if (disk.checksum != record_checksum(disk, payload)) return std::nullopt;
  return state_of_record(disk, payload);
}

std::optional<CredentialState> read_slot(int fd, int slot) {
  DiskRecord disk;
  if (!read_at(fd, slot_at(slot), disk) || !is_plausible(disk)) return std::nullopt;
  std::vector<unsigned char> payload(payload_size(disk));
  const ssize_t got = ::pread(fd, payload.data(), payload.size(), payload_at(slot, payload.size()));
  if (got != static_cast<ssize_t>(payload.size())) return std::nullopt;
  if (disk.checksum != record_checksum(disk, payload)) return std::nullopt;
  return state_of_record(disk, payload);
}

DiskHead head_of(const JournalPlace& place) {
  DiskHead head;
  std::copy(kMagic.begin(), kMagic.end(), head.magic.begin());
  put_text(head.store_id, place.store_id);
  put_text(head.uid, place.uid);
  head.checksum = own_checksum(head);
  return head;
}

Secret blank_journal(const JournalPlace& place) {
  const DiskHead head = head_of(place);
  DiskMark mark;  // a whole one, so that zeroes in its place are damage
  mark.checksum = own_checksum(mark);
  std::vector<char> bytes(kFileSize, '\0');
  std::memcpy(bytes.data(), &head, sizeof(head));
  std::memcpy(bytes.data() + kMarkAt, &mark, sizeof(mark));
  return Secret(std::move(bytes));
}

}  // namespace authdb::journal_format
