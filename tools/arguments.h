// What a verb takes, declared once: CLI11 parses it, --help prints it.
//
// No message made here quotes the value of an argument: a value may be a key that somebody typed in
// the wrong place.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/result.h"

namespace authdb::cli {

enum class Need { required, optional };

// The variables handed in must outlive parse().
class Arguments {
 public:
  Arguments();
  ~Arguments();
  Arguments(const Arguments&) = delete;
  Arguments& operator=(const Arguments&) = delete;

  void positional(const std::string& name, std::string& into, std::string help,
                  Need need = Need::required);
  // All positionals that are left.
  void rest(const std::string& name, std::vector<std::string>& into, std::string help);
  void option(const std::string& name, const std::string& value, std::optional<std::string>& into,
              std::string help);
  // May be given several times, one value each time.
  void option(const std::string& name, const std::string& value, std::vector<std::string>& into,
              std::string help);
  void flag(const std::string& names, bool& into, std::string help);

  // Options declared from here on are listed apart, as the ones every verb takes.
  void globals_follow() { in_globals_ = true; }
  // What to say of an argument nobody expects: an option's name without its value, or nothing for a
  // positional. Without it, or where it returns nothing, the usual words.
  using Unexpected = std::function<std::optional<Error>(std::string_view option)>;
  void when_unexpected(Unexpected explain) { explain_ = std::move(explain); }

  // usage, and some of the variables may have been set.
  Result<void> parse(std::vector<std::string> words);
  // The positionals that parse() did not see though they are required; usage.
  Result<void> check_complete() const;

  // `usage: authdb token PROVIDER [--credential TARGET]`, on as many lines as it takes.
  std::string usage(std::string_view verb) const;
  // The two lists of --help.
  std::string described(bool globals) const;

 private:
  struct Entry {
    std::string shown;  // `--label L`
    std::string brief;  // `[--label L]`, for the synopsis
    std::string help;
    bool global = false;
  };
  struct Parser;

  Error unexpected(const std::vector<std::string>& words) const;

  std::unique_ptr<Parser> parser_;
  std::vector<Entry> entries_;
  Unexpected explain_;
  bool in_globals_ = false;
};

}  // namespace authdb::cli
