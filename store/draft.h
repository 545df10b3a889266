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
  // they died.
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

 private:
  Draft(std::filesystem::path meant_for, Fd directory);
  std::string target() const { return meant_for_.filename().string(); }
  bool open_new();
  Result<void> sync() const;
  Result<void> named();

  std::filesystem::path meant_for_;
  Fd directory_;
  std::string name_;  // empty: there is no file
  Fd file_;
};

// An empty file for SQLite to fill, after those that others left.
Result<Draft> begin_draft(const std::filesystem::path& meant_for);

// The file name that a draft called `name` was made for; empty if no draft is called so. Also for
// what SQLite puts beside one.
std::string_view name_of_draft(std::string_view name);

}  // namespace authdb
