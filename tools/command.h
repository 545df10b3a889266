// The command's skeleton: what a verb is, and the world it runs in.
//
// A verb declares its arguments, validates all of them, acts once and prints last. Results go to
// Context::out, everything else to Context::err. It fails with a Result, whose code is the exit
// status.
#pragma once

#include <filesystem>
#include <functional>
#include <istream>
#include <memory>
#include <optional>
#include <ostream>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "oauth/bearer.h"
#include "oauth/http.h"
#include "oauth/provider.h"
#include "store/clock.h"
#include "store/result.h"
#include "store/store.h"
#include "tools/arguments.h"

namespace authdb::cli {

inline constexpr int kOk = 0;
constexpr int exit_code(Errc code) { return static_cast<int>(code); }

// The options every verb takes, before or after its name.
struct Globals {
  std::optional<std::string> store;
  std::optional<std::string> profile;
  bool json = false;
  bool quiet = false;
  bool verbose = false;
  bool no_color = false;
  bool help = false;
  bool version = false;
};

// Everything a verb touches of the world. Tests hand in string streams, a clock of their own and a
// transport that answers from a script.
struct Context {
  std::istream& in;
  std::ostream& out;
  std::ostream& err;
  oauth::Environment env = oauth::process_environment();
  Clock clock = system_now;
  Milliseconds lock_wait = StoreOptions{}.lock_wait;
  // Asks a person for a line without showing it. Empty: there is nobody to ask.
  std::function<Result<Secret>(std::string_view prompt)> ask = {};
  bool out_is_terminal = false;
  bool err_is_terminal = false;
  std::shared_ptr<oauth::HttpTransport> http = {};  // empty: libcurl, if a request is needed
  std::filesystem::path providers_dir = {};         // empty: ProviderRegistry::default_directory()
  // Between two polls of a login. Tests move their clock instead.
  std::function<void(Milliseconds)> wait = [](Milliseconds span) {
    std::this_thread::sleep_for(span);
  };
  // Opens a page for a person; false if that failed. Empty: there is no browser.
  std::function<bool(const std::string& url)> browse = {};
  Globals globals = {};
  // Writes a file's content to `out` as it is, past what makes all else fit for a terminal.
  std::function<bool(std::string_view bytes)> put_unchanged = {};

  // --profile, else $AUTHDB_PROFILE, else the NAME of a $HERMES_HOME that is `…/profiles/NAME`.
  std::optional<std::string> chosen_profile() const;
  // That, else `default`.
  std::string profile() const;
  bool colour() const;
  // The providers, read from their files when they are first asked for.
  const oauth::ProviderRegistry& registry();
  oauth::BearerParts bearer_parts();

  // For people, on `err`: a note says what happened beside the result. Neither under --quiet.
  void note(std::string_view text);
  void warn(std::string_view text);

  std::shared_ptr<const oauth::ProviderRegistry> loaded = {};  // registry()'s; leave it alone
};

// What a verb does once its arguments have been read. The value is the exit status.
using Run = std::function<Result<int>(Context&)>;

enum class Group { use, look, manage, setup, keep };

// A verb, as a row of the table. `declare` builds its parser; only the chosen verb's is built.
struct Command {
  std::string_view name;
  Group group;
  std::string_view summary;  // one line
  std::string_view manual;   // prose, exit codes and examples of --help, below the synopsis
  Run (*declare)(Arguments& arguments);
};

std::span<const Command* const> all_commands();

// Parses, runs and reports: the whole command but for the process around it. Returns the exit
// status.
int dispatch(std::vector<std::string> words, Context& context);

// Prints an error's two lines, and returns its exit status.
int report(Context& context, const Error& error);

// The store of this invocation, ready to rotate.
StoreOptions store_options(Context& context);
Result<Store> open_store(Context& context, OpenMode mode);

}  // namespace authdb::cli
