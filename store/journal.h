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
//     1024  mark    {revision of an intent, none | sent, checksum}   written in place
//     2048  spent   256 x {hash, generation, check}           hashes of the last spent tokens
//    12288  slot A  one record: the state, then the sealed grant and answer
//    22528  slot B  the other one
//    32768  records too long for a slot, 2 MiB for each slot
//
// A record is the whole state of the credential (store/state.h). Records are written into the two
// slots in turn, with increasing revisions; the newest with a right checksum counts. The mark is
// synced together with its intent: where it is newer than every record that can be read, the newest
// record is lost, and its token counts as sent.
//
// Journals of format 1 are read, and become format 2 with the first record that is written.
//
// Thread safety: none; the object is the lock.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "store/file_lock.h"
#include "store/result.h"
#include "store/seal.h"
#include "store/state.h"

namespace authdb {

// Who holds, or last held, the lock.
struct Holder {
  std::int64_t pid = 0;
  Instant since{};
  std::string host;
  std::string process;
};

// Where journals are, and whose.
struct JournalPlace {
  std::filesystem::path directory;
  std::string store_id;
  Uid uid;

  std::filesystem::path path() const { return directory / uid.substr(0, 2) / uid; }
};

class Journal {
 public:
  // Takes the lock within `wait`, making the file if there is none. Errors: busy, naming the
  // holder; stopped, if `stop` was requested while it waited; refused, if the file is damaged or
  // not this credential's; try_later on a full disk.
  static Result<Journal> acquire(const JournalPlace& place, Milliseconds wait, const Holder& self,
                                 const std::stop_token& stop = {});

  // What it says, without its lock: for those who only look, and may see it half written. It cannot
  // be written through. refused as acquire(); not_found if there is none.
  static Result<Journal> look(const JournalPlace& place);
  // Takes the lock of a damaged or foreign journal, keeps its bytes as `<uid>.damaged-<time>`,
  // calls `before_it_goes` and makes it a blank one. The kept file's name, or empty if nothing was
  // wrong with it.
  static Result<std::filesystem::path> set_aside(const JournalPlace& place, Milliseconds wait,
                                                 const Holder& self,
                                                 const std::function<void()>& before_it_goes);
  // Every credential that has a journal there, in uid order.
  static std::vector<Uid> all(const std::filesystem::path& directory);
  // The keys that sealed a journal's payloads, read without its lock.
  static std::vector<KeyId> keys_of(const std::filesystem::path& path);

  // The newest whole record, with what the mark adds to it.
  const CredentialState& state() const { return state_; }
  // True if the newest record is lost: whether its token was sent cannot be known.
  bool lost_its_last_word() const { return lost_; }
  // The highest revision that it shows any trace of: the next record's is higher.
  std::int64_t newest_revision() const { return newest_revision_; }
  // Of the last 256 spent tokens, those whose entries are whole.
  const std::vector<std::pair<TokenHash, std::int64_t>>& spent() const { return spent_; }

  // Makes `state` the newest record. With `durable` it is on disk on return, and so is everything
  // written here before. An intent has room for the answer that follows it, also where the disk is
  // full then; if that room is not to be had, it is not written. Errors: try_later (full disk),
  // unexpected; then the record before it counts.
  Result<void> write(CredentialState state, bool durable);
  // The intent's first byte may leave. Survives this process, which is all it must: after a power
  // cut the intent's boot id is another one.
  Result<void> mark_sent();
  void add_spent(const TokenHash& hash, std::int64_t generation);
  // The newest record twice, so that no byte of an older one is left; durable.
  Result<void> rewrite(CredentialState state);
  // All that was written here so far survives a power cut.
  Result<void> sync();

 private:
  explicit Journal(FileLock lock) : lock_(std::move(lock)) {}
  explicit Journal(Fd looking) : looking_(std::move(looking)) {}
  int fd() const { return lock_ ? lock_->fd() : looking_.get(); }
  // False too where the file was removed or replaced meanwhile: others lock the one that is there
  // now.
  bool is_ours() const;
  Result<void> load(const JournalPlace& place);
  void load_slots();
  void load_mark();
  void load_spent();
  void write_holder(const Holder& self);
  // These yield 0, or errno.
  int fill_up() const;
  int make_room(const CredentialState& intent) const;
  int write_slot(int slot, const CredentialState& state);
  int write_mark(std::int64_t revision, std::uint64_t mark);
  int write_head();

  std::optional<FileLock> lock_;
  Fd looking_;
  JournalPlace place_;
  CredentialState state_;
  bool lost_ = false;
  bool head_is_old_ = false;  // of format 1
  std::int64_t newest_revision_ = 0;
  std::vector<std::pair<TokenHash, std::int64_t>> spent_;
  int newest_slot_ = 1;  // a blank journal starts with slot 0
};

}  // namespace authdb
