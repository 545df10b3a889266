// The system calls that change files, in a test's hand.
//
// The linker routes them through here (--wrap, in CMakeLists.txt), in this executable only: what is
// tested is the code that ships. SQLite is linked statically and reaches files by the same calls as
// our own code, so one layer beneath both takes the place of a SQLite VFS shim and of one for the
// journal: the order of writes over all files is one order, and an error passes through SQLite's
// own translation on its way to us. (That both are seen is a test of its own.)
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <string_view>

namespace authdb::test {

enum class Op { open, create, write, truncate, allocate, sync, link, rename, unlink, mkdir };

struct Call {
  Op op = Op::open;
  std::string path;         // link, rename: the new name
  std::string from = {};    // link, rename: the old name
  bool for_writing = true;  // open
  off_t offset = 0;         // write
  std::string_view bytes = {};
  off_t size = 0;  // truncate, allocate

  std::string text() const;  // for failure messages: "write auth.db-wal"
};

// Not called for what it does itself.
class DiskWatcher {
 public:
  virtual ~DiskWatcher() = default;
  // 0 lets the call through, an errno fails it without effect.
  virtual int before(const Call&) { return 0; }
  // The call has succeeded: 0, or an errno that the caller sees all the same.
  virtual int after(const Call&) { return 0; }
};

// While it exists, every call on something below `root` is shown to `watcher`. One at a time.
class Watching {
 public:
  Watching(const std::filesystem::path& root, DiskWatcher& watcher);
  ~Watching();
  Watching(const Watching&) = delete;
  Watching& operator=(const Watching&) = delete;
};

// How a disk fails: at which call, and for how long.
struct Trouble {
  enum class Kind {
    once,   // one call fails, the next one works
    stays,  // and so do all calls after it
    late,   // one call does its work and reports the error all the same
  };
  const char* name;
  int error;
  Kind kind;
};

// Fails the nth call that `trouble` could strike, counting from 1.
class Fault final : public DiskWatcher {
 public:
  Fault(const Trouble& trouble, int nth) : trouble_(trouble), nth_(nth) {}
  int before(const Call& call) override;
  int after(const Call& call) override;
  bool struck() const { return !where_.empty(); }
  const std::string& where() const { return where_; }  // the first call that failed

 private:
  bool strikes(const Call& call) const;
  Trouble trouble_;
  int nth_;
  int seen_ = 0;
  bool now_ = false;
  std::string where_;
};

}  // namespace authdb::test
