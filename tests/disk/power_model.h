// A disk that keeps only what was synced: what would be found after a power cut.
//
// The contents of a file are durable once the file was synced, and its name once its directory was;
// nothing else is, whatever the page cache shows. What was not synced may have reached the disk all
// the same, in any order and by sectors of 512 bytes: see Landed. (LevelDB's fault_injection_test
// is the model of this model.)
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "tests/disk/disk.h"

namespace authdb::test {

inline constexpr std::size_t kSector = 512;

class PowerModel final : public DiskWatcher {
 public:
  // Everything below `root` is taken for durable as it is.
  explicit PowerModel(std::filesystem::path root);

  struct File {
    std::string durable;
    std::string cached;  // as everybody sees it; memory that SQLite maps left out
    std::vector<std::size_t> unsynced_sectors() const;
  };

  // Of the sectors of `path` that were not synced: did this one reach the disk?
  using Landed = std::function<bool(const std::string& path, std::size_t sector)>;

  // The disk at one moment.
  struct Image {
    std::map<std::uint64_t, File> files;
    // Directory → name → file, or 0 for a directory. Only durable names.
    std::map<std::string, std::map<std::string, std::uint64_t>> names;
    std::string root;

    // The paths, relative to the root, of files with something unsynced in them.
    std::map<std::string, std::vector<std::size_t>> unsynced() const;
    void write_to(const std::filesystem::path& directory, const Landed& landed) const;
  };
  Image image() const { return image_; }

  // Called before each call that changes something.
  std::function<void(const Call&)> at_each_call;
  // From the nth call on nothing reaches the disk: as if the process had been killed there.
  int dies_at = 0;
  int calls() const { return calls_; }

  int before(const Call& call) override;
  int after(const Call& call) override;

 private:
  std::uint64_t& id_at(const std::string& path);
  void sync(const std::string& path);
  void learn(const std::string& directory);
  Image image_;
  std::map<ino_t, std::uint64_t> ids_;  // inode numbers are used again: these are not
  std::uint64_t next_id_ = 1;
  int calls_ = 0;
};

}  // namespace authdb::test
