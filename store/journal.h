// The journal of one credential: its lock, and the authority for recovery (DESIGN 5).
//
// One file of 32 KiB per OAuth credential, auth.db.d/<xx>/<uid>, made complete and durable before
// its first use and never unlinked. A file that is shorter, or does not start as ours, was damaged
// by somebody else: it is kept, reported and never guessed at.
//
// Layout (native byte order: one store is one machine). Stored: never change; a new format takes a
// new magic.
//        0  head    magic, store id, uid, checksum            written once
//      512  holder  who has the lock, for the message of those who wait; no part in recovery
//     1024  mark    {attempt, sent | resolved, checksum}      written in place
//     2048  spent   256 x {hash, generation, check}           hashes of the last spent tokens
//    12288  slot A  one record: header, then a sealed payload
//    22528  slot B  the other one
//    32768  payloads too long for a slot, 1 MiB + 64 KiB for each slot
//
// An attempt's records never go into the slot of the newest settled grant, however many attempts
// fail: it is what tells that a database was put back. Should a torn write cost an attempt's own
// record, the mark still says that its token was sent. Records have increasing numbers; the newest
// with a right checksum counts.
//
// Thread safety: none; the object is the lock.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "store/attempt.h"
#include "store/credential.h"
#include "store/file_lock.h"
#include "store/result.h"
#include "store/seal.h"

namespace authdb {

// What the journal says happened last. Stored: never renumber.
enum class JournalState : std::uint8_t {
  none = 0,      // nothing was ever attempted
  intent = 1,    // a token is about to be sent, or was: see JournalMark
  answered = 2,  // a 2xx answer is in here, sealed
  settled = 3,   // the database has what the answer brought
};

enum class JournalMark : std::uint8_t {
  none = 0,      // the intent's request has not begun
  sent = 1,      // its first byte may have left
  resolved = 2,  // the server has said that it did not spend the token, or nothing left
  damaged = 3,   // unreadable: counts as sent
};

struct JournalRecord {
  JournalState state = JournalState::none;
  std::uint64_t number = 0;
  std::int64_t family = 0;
  std::int64_t generation =
      0;             // intent, answered: of the token that is sent; settled: of the grant in it
  TokenHash hash{};  // intent, answered: the token that is sent; settled: the grant's, or zero
  TokenHash predecessor{};  // settled: the token that this grant replaced
  bool replay = false;      // the token had been sent before (DESIGN 5.4)
  std::int64_t pid = 0;
  std::string boot_id;
  std::string process;
  std::string profile;
  Instant started_at{};
  std::int32_t http_status = 0;
  std::uint8_t complete = 0;  // answered: the body arrived to its end
  Sealed payload;             // answered: the body; settled: the grant and whose it is
};

// Who holds, or last held, the lock.
struct Holder {
  std::int64_t pid = 0;
  Instant since{};
  std::string host;
  std::string process;
};

class Journal {
 public:
  static std::filesystem::path path_of(const std::filesystem::path& directory, const Uid& uid);

  // Takes the lock within `wait`, making the file if there is none. Errors: busy, naming the
  // holder; stopped, if `stop` was requested while it waited; refused, if the file is damaged or
  // not this credential's; try_later on a full disk.
  static Result<Journal> acquire(const std::filesystem::path& directory,
                                 const std::string& store_id, const Uid& uid, Milliseconds wait,
                                 const Holder& self, const std::stop_token& stop = {});

  // The newest whole record. JournalState::none if there never was one.
  const JournalRecord& record() const { return record_; }
  // What became of the newest intent.
  JournalMark mark() const { return mark_; }
  // The newest record that holds a settled grant, which an intent leaves in place beside it.
  const std::optional<JournalRecord>& settled() const { return settled_; }
  // Of the last 256 spent tokens, those whose entries are whole.
  const std::vector<std::pair<TokenHash, std::int64_t>>& spent() const { return spent_; }

  // Step 4. Durable on return; if it fails, nothing may be sent.
  Result<void> write_intent(JournalRecord intent);
  // Step 5, before the first byte. Survives this process, which is all it must: after a power cut
  // the intent's boot id is another one.
  bool write_sent();
  // The token that the newest intent names is unspent after all.
  void write_resolved();
  // Step 6. Durable on return.
  Result<void> write_answered(JournalRecord answered);
  // Step 8. Not synced: until it is on disk the answer is, and says the same.
  void write_settled(JournalRecord settled);
  void add_spent(const TokenHash& hash, std::int64_t generation);

  // For tests and the rescue file: one record as bytes, and back; nullopt if they are not whole.
  static std::vector<unsigned char> encode(const JournalRecord& record);
  static std::optional<JournalRecord> decode(std::span<const unsigned char> bytes);

 private:
  explicit Journal(FileLock lock) : lock_(std::move(lock)) {}
  Result<void> load(const std::string& store_id, const Uid& uid, const std::filesystem::path& path);
  void load_slots();
  void load_mark(off_t file_size);
  void load_spent();
  void write_holder(const Holder& self);
  Result<void> write_record(JournalRecord record, bool durable);
  int slot_for(JournalState state) const;

  FileLock lock_;
  std::filesystem::path path_;
  JournalRecord record_;
  std::optional<JournalRecord> settled_;
  JournalMark mark_ = JournalMark::none;
  std::vector<std::pair<TokenHash, std::int64_t>> spent_;
  int newest_slot_ = 1;  // where record_ is, and settled_; a blank journal starts with slot 0
  int settled_slot_ = 1;
};

}  // namespace authdb
