// The stage of a proof: a scratch directory, homes in it (each with a store and a key of its own),
// a simulated portal, and the authdb command that is put to the test. Nothing of the user's is
// named in the environment that the command gets.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "tools/portal/portal.h"
#include "tools/prove/child.h"

namespace authdb::prove {

// A directory of our own, removed at the end unless it is kept as evidence.
class Scratch {
 public:
  explicit Scratch(
      const std::filesystem::path& parent);  // throws std::filesystem::filesystem_error
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  const std::filesystem::path& path() const { return path_; }
  void keep() { kept_ = true; }

 private:
  std::filesystem::path path_;
  bool kept_ = false;
};

// What $HOME is to the command.
struct Home {
  std::filesystem::path directory;

  std::filesystem::path store() const { return directory / "store/auth.db"; }
  std::filesystem::path key() const { return directory / "seal.key"; }
  std::filesystem::path journals() const { return directory / "store/auth.db.d"; }
};

void copy_home(const Home& from, const Home& to);  // replaces `to`

// A refresh token and its access token, as they stand in a store or come from the portal.
struct Tokens {
  std::string access;
  std::string refresh;
};

// Not thread-safe: one thread, one stage.
class Stage {
 public:
  Stage(std::filesystem::path authdb, std::filesystem::path directory,
        const portal::Options& options = {.era = portal::Era::kBoth});

  Home home(const std::string& name) const;  // made if it is not there
  Command command(const Home& home, std::vector<std::string> words, std::string input = {}) const;
  Finished authdb(const Home& home, std::vector<std::string> words, std::string input = {}) const;
  // As authdb(), where anything but success means that the stage cannot be set. Throws
  // std::runtime_error with what was said.
  Finished must(const Home& home, std::vector<std::string> words, std::string input = {}) const;

  // Waits until the portal has ended every request, also those of killed clients.
  bool portal_is_idle();
  // What an inference call with this bearer is answered.
  bool is_live(const std::string& bearer) const;

  portal::Portal& portal() { return portal_; }
  std::string portal_url() const { return portal_.base_url(); }
  const std::filesystem::path& directory() const { return directory_; }

 private:
  const std::filesystem::path authdb_;
  const std::filesystem::path directory_;
  portal::Portal portal_;
};

// The grants in a home's store, unsealed.
std::vector<Tokens> tokens_in(const Home& home);

// A token endpoint's answer that was got long ago and has expired.
std::string expired_grant(const Tokens& tokens, const std::string& scope);

void write_file(const std::filesystem::path& path, const std::string& text);  // mode 0600
std::string read_file(const std::filesystem::path& path);

}  // namespace authdb::prove
