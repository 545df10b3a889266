#include <algorithm>
#include <array>

#include "store/scrub.h"
#include "store/target.h"
#include "tools/command.h"
#include "tools/render/safe_output.h"
#include "tools/render/text.h"

namespace authdb::cli {
namespace {

void declare_globals(Arguments& arguments, Globals& globals) {
  arguments.globals_follow();
  arguments.option("--store", "PATH", globals.store,
                   "the store; else $AUTHDB_STORE, else authdb/auth.db in the user's data folder");
  arguments.option("--profile", "NAME", globals.profile,
                   "whose pools to use; else $AUTHDB_PROFILE, else `default`");
  arguments.flag("--json", globals.json, "the result as JSON");
  arguments.flag("-q,--quiet", globals.quiet, "no notes and no warnings; errors remain");
  arguments.flag("-v,--verbose", globals.verbose, "say on stderr what is being done");
  arguments.flag("--no-color", globals.no_color, "no colour; $NO_COLOR does the same");
  arguments.flag("-h,--help", globals.help, "this page");
  arguments.flag("--version", globals.version, "the version");
}

// The place of the verb: the first word that is neither an option nor the value of one.
std::vector<std::string>::iterator find_verb(std::vector<std::string>& words) {
  for (auto word = words.begin(); word != words.end(); ++word) {
    if (!word->starts_with('-')) return word;
    if ((*word == "--store" || *word == "--profile") && word + 1 != words.end()) ++word;
  }
  return words.end();
}

std::string_view title(Group group) {
  switch (group) {
    case Group::setup:
      return "Fill the store";
    case Group::use:
      return "Use what is in it";
    case Group::look:
      return "Look; never spends a token, never changes the store";
    case Group::manage:
      return "Manage";
    case Group::keep:
      return "Look after the store itself";
  }
  return {};
}

std::string overview() {
  Globals globals;
  Arguments arguments;
  declare_globals(arguments, globals);
  std::string text =
      "authdb keeps OAuth grants and API keys in one SQLite store that any number of programs "
      "share.\n\nusage: authdb COMMAND [ARGUMENTS] [OPTIONS]\n";
  for (const auto group : {Group::setup, Group::use, Group::look, Group::manage, Group::keep}) {
    text += "\n" + std::string(title(group)) + "\n";
    for (const auto* command : all_commands()) {
      if (command->group == group) text += hanging(command->name, command->summary);
    }
  }
  return text + "\nOptions, before or after the command\n" + arguments.described(true) +
         "\n`authdb COMMAND --help` is the manual of a command.\n";
}

std::string manual(const Command& command, const Arguments& arguments) {
  std::string text = "authdb " + std::string(command.name) + ": " + std::string(command.summary);
  text += "\n\n" + arguments.usage(command.name) + "\n\n";
  text += command.manual.substr(0, command.manual.find("\nExit codes"));
  if (const auto own = arguments.described(false); !own.empty()) text += "\nArguments\n" + own;
  text += "\nOptions of every command\n" + arguments.described(true);
  if (const auto at = command.manual.find("\nExit codes"); at != std::string_view::npos) {
    text += command.manual.substr(at);
  }
  return text;
}

Error unknown_command(const std::string& word) {
  std::vector<std::string> names;
  for (const auto* command : all_commands()) names.emplace_back(command->name);
  const auto close = nearest(word, names);
  return {Errc::usage, "there is no command " + in_quotes(word),
          close.empty() ? "`authdb --help` lists the commands."
                        : "Did you mean " + joined(close, " or ") + "?"};
}

// What was asked for without a verb: --help, --version, or a mistake.
Result<int> run_bare(Context& context, const std::vector<std::string>& words) {
  Arguments arguments;
  declare_globals(arguments, context.globals);
  if (auto parsed = arguments.parse(words); !parsed) return fail(std::move(parsed).error());
  if (context.globals.version) {
    context.out << "authdb " AUTHDB_VERSION "\n";
    return kOk;
  }
  if (context.globals.help) {
    context.out << overview();
    return kOk;
  }
  context.err << overview();
  return exit_code(Errc::usage);
}

Result<int> run_verb(const Command& command, Context& context, std::vector<std::string> words) {
  Arguments arguments;
  const auto action = command.declare(arguments);
  declare_globals(arguments, context.globals);

  auto usable = arguments.parse(std::move(words));
  if (usable && context.globals.version) return run_bare(context, {"--version"});
  if (context.globals.help) {
    context.out << manual(command, arguments);
    return kOk;
  }
  if (usable) usable = arguments.check_complete();
  if (usable && context.globals.store && context.globals.store->empty()) {
    usable = fail(Errc::usage, "--store wants the path of a file", "");
  }
  if (!usable) {
    auto error = std::move(usable).error();
    error.hint += (error.hint.empty() ? "" : "\n") + arguments.usage(command.name);
    return fail(std::move(error));
  }
  auto result = action(context);
  if (!result && result.error().code == Errc::usage && result.error().hint.empty()) {
    result.error().hint = arguments.usage(command.name);
  }
  return result;
}

Result<int> run(std::vector<std::string> words, Context& context) {
  auto verb = find_verb(words);
  if (verb == words.end()) return run_bare(context, words);
  auto name = *verb;
  words.erase(verb);
  if (name == "help") {  // `authdb help token`
    words.emplace_back("--help");
    verb = find_verb(words);
    if (verb == words.end()) return run_bare(context, words);
    name = *verb;
    words.erase(verb);
  }
  for (const auto* command : all_commands()) {
    if (command->name == name) return run_verb(*command, context, std::move(words));
  }
  return fail(unknown_command(name));
}

// Somebody gave a token where a name belongs. Other users may have seen it in the process list, and
// the message must not carry it on into logs.
Error without_tokens_of(const std::vector<std::string>& words, Error error) {
  bool cut = false;
  for (const std::string& word : words) {
    const auto sign = word.starts_with('-') ? word.find('=') : std::string::npos;
    const std::string value = sign == std::string::npos
                                  ? word.substr(std::min(word.find_first_not_of('-'), word.size()))
                                  : word.substr(sign + 1);
    if (!looks_like_token(value) || value.find('/') != std::string::npos) continue;
    for (std::string* text : {&error.message, &error.hint}) {
      for (auto at = text->find(value); at != std::string::npos; at = text->find(value, at)) {
        text->replace(at, value.size(), "[redacted]");
        cut = true;
      }
    }
  }
  if (cut) {
    error.hint += (error.hint.empty() ? "" : "\n") +
                  std::string(
                      "What was given looks like a token. Other users can see the command "
                      "line: give tokens on stdin, as `-`, and fingerprints here.");
  }
  return error;
}

}  // namespace

int report(Context& context, const Error& error) {
  context.err << "authdb: " << error.message << '\n';
  std::string_view hint = error.hint;
  while (!hint.empty()) {
    const auto line = hint.substr(0, hint.find('\n'));
    context.err << "  " << line << '\n';
    hint.remove_prefix(std::min(hint.size(), line.size() + 1));
  }
  return exit_code(error.code);
}

int dispatch(std::vector<std::string> words, Context& context) {
  SafeOutput out(context.out);
  const SafeOutput err(context.err);
  context.put_unchanged = [&](std::string_view bytes) { return out.put_unchanged(bytes); };
  const auto status = run(words, context);
  if (!status) return report(context, without_tokens_of(words, status.error()));
  // A token that did not reach its reader was not delivered, whatever became of it here.
  if (!context.out.flush()) {
    return report(context, {Errc::unexpected, "the result could not be written to stdout",
                            "Is the disk full, or the reader gone?"});
  }
  return *status;
}

}  // namespace authdb::cli
