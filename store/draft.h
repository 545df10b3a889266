// A file in the making.
//
// It stands beside the file that it is meant to become, under a name that nobody can guess, with
// mode 0600 from its first byte, whatever the umask says. It is made, named and removed through one
// descriptor of the directory: whoever changes names above leads nothing elsewhere.
#pragma once

#include <sys/stat.h>

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/files.h"
#include "store/result.h"
#include "store/secret.h"

namespace authdb {

// Gone, with what SQLite put beside it, unless it was given its name. Movable. Its file is locked
// (flock) until it is finished: what has a draft's name and is not locked was left by a process
// that died, or belongs to a database that is about to get its name.
class Draft {
 public:
  // Nothing is made yet. refused: the directory is neither this user's nor root's.
  static Result<Draft> make(const std::filesystem::path& meant_for);
  Draft(Draft&& other) noexcept;
  Draft& operator=(Draft&&) = delete;
  ~Draft();

  const std::filesystem::path& meant_for() const { return meant_for_; }
  // What has the name that it is to get; a link is not followed. nullopt and errno: it cannot be
  // looked at.
  std::optional<struct stat> what_is_there() const;
  // Drafts for the same name, or for a longer one (`auth.json.migrated-...`), that others left when
  // they died. A file that one of them had taken out of its place is no draft: it becomes
  // `auth.json.displaced-...`.
  void remove_abandoned() const;

  // An empty file. Somebody who opens it by path() must be able to trust the directories.
  Result<void> begin();
  std::filesystem::path path() const { return meant_for_.parent_path() / name_; }
  // begin(), the whole content, and a sync.
  Result<void> write(const Secret& content);
  // For a database: synced and closed before it is named, since whoever closes a descriptor of it
  // drops the locks that SQLite holds in this process.
  Result<void> finish();

  // Gives it its name, durably. False: it is taken.
  Result<bool> create();
  Result<void> replace();
  // As replace(), if the file that has the name still consists of `was`; `written` is what write()
  // was given. False: it does not, and has its name and its bytes. try_later, naming the file
  // where they are: it was written twice meanwhile, and what stood there in between is kept.
  //
  // The draft changes places with the file, and then what came out is looked at. What somebody
  // wrote at the last moment is put back, so nothing is lost that nobody has read. Somebody who
  // reads in the few microseconds until then sees the draft. Where the file system cannot
  // exchange, the file is compared right before it is replaced, which leaves a moment.
  Result<bool> replace_if_same(const Secret& was, const Secret& written);

 private:
  Draft(std::filesystem::path meant_for, Fd directory);
  std::string target() const { return meant_for_.filename().string(); }
  bool open_new();
  Fd open_ordinary(const std::string& name) const;
  bool exchange(const std::string& name) const;
  Result<bool> decide(const std::string& out, const Secret& was, const Secret& written);
  std::string keep(const std::string& out) const;
  Result<void> sync() const;
  Result<void> named();

  std::filesystem::path meant_for_;
  Fd directory_;
  std::string name_;  // empty: there is no file
  Fd file_;
};

// An empty file for SQLite to fill, after those that others left.
Result<Draft> begin_draft(const std::filesystem::path& meant_for);

// Replaces the file `path` if it consists of `was`, whoever writes it meanwhile. False: it has
// other bytes and keeps them: read again, and think again. Errors as of check_replaceable() and
// Draft::replace_if_same().
Result<bool> replace_if_same(const std::filesystem::path& path, const Secret& was,
                             const Secret& content);

// What a replacement of a file that was cut off has left beside it.
struct Remains {
  std::filesystem::path path;
  // It stood in the file's place (`.auth.json.authdb-INODE-UID`, or by now
  // `auth.json.displaced-UID`), and may be the only copy of what is in it. Else it is a draft.
  bool came_out = false;
};
// Beside `file`. Not what somebody is at work on.
std::vector<Remains> remains_beside(const std::filesystem::path& file);

// The file name that a draft called `name` was made for; empty if no draft is called so. Also for
// what SQLite puts beside one.
std::string_view name_of_draft(std::string_view name);

}  // namespace authdb
