// The command line, up to where a command would act: each line is a word, the first chooses the
// command. A message never quotes what was given, since it may be a key in the wrong place.
#include <sstream>
#include <string>
#include <vector>

#include "tests/fuzz/fuzz.h"
#include "tools/commands/commands.h"

namespace authdb::cli {
namespace {

constexpr std::string_view kTypedKey = "sk-made-up-0123456789abcdef";

// `$` stands for a key that somebody typed.
std::string with_key(const std::string& line) {
  std::string word;
  for (const char c : line) {
    if (c == '$') word += kTypedKey;
    if (c != '$') word += c;
  }
  return word;
}

bool quotes(const Error& error) {
  return (error.message + error.hint).find(kTypedKey) != std::string::npos;
}

void parse(const Command& command, std::vector<std::string> words) {
  Arguments arguments;
  const Run run = command.declare(arguments);
  fuzz::require(static_cast<bool>(run), "each command can be run");
  auto parsed = arguments.parse(std::move(words));
  if (parsed) parsed = arguments.check_complete();
  if (parsed) return;
  fuzz::require(parsed.error().code == Errc::usage, "a mistake of the user's is called that");
  fuzz::require(!quotes(parsed.error()), "a message does not quote an argument");
}

}  // namespace
}  // namespace authdb::cli

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace authdb;
  std::istringstream lines{std::string(fuzz::text_of(data, size))};
  std::string line;
  if (!std::getline(lines, line)) return 0;
  const auto commands = cli::all_commands();
  std::size_t chosen = line.empty() ? 0 : static_cast<unsigned char>(line[0]) % commands.size();
  for (std::size_t i = 0; i < commands.size(); ++i) {
    if (commands[i]->name == line) chosen = i;
  }
  std::vector<std::string> words;
  bool option_is_the_key = false;  // an option's own name is said
  while (std::getline(lines, line) && words.size() < 64) {
    words.push_back(cli::with_key(line));
    const std::string& word = words.back();
    option_is_the_key |= word.starts_with('-') && word.find(cli::kTypedKey) < word.find('=');
  }
  if (!option_is_the_key) cli::parse(*commands[chosen], std::move(words));
  return 0;
}
