#include "tools/arguments.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "store/target.h"
#include "tools/render/text.h"

namespace authdb::cli {

struct Arguments::Parser {
  CLI::App app;
  std::vector<std::pair<std::string, const CLI::Option*>> required;
  std::vector<std::string> options;
};

Arguments::Arguments() : parser_(std::make_unique<Parser>()) {
  parser_->app.set_help_flag();
  parser_->app.allow_extras();
}
Arguments::~Arguments() = default;

void Arguments::positional(const std::string& name, std::string& into, std::string help,
                           Need need) {
  const auto* option = parser_->app.add_option(name, into);
  if (need == Need::required) parser_->required.emplace_back(name, option);
  entries_.push_back({name, need == Need::required ? name : "[" + name + "]", std::move(help), {}});
}

void Arguments::rest(const std::string& name, std::vector<std::string>& into, std::string help) {
  parser_->app.add_option(name, into);
  entries_.push_back({name, "[" + name + "…]", std::move(help), {}});
}

void Arguments::option(const std::string& name, const std::string& value,
                       std::optional<std::string>& into, std::string help) {
  parser_->app.add_option_function<std::string>(
      name, [&into](const std::string& given) { into = given; });
  parser_->options.push_back(name);
  const auto shown = name + " " + value;
  entries_.push_back({shown, "[" + shown + "]", std::move(help), in_globals_});
}

void Arguments::option(const std::string& name, const std::string& value,
                       std::vector<std::string>& into, std::string help) {
  parser_->app
      .add_option_function<std::string>(
          name, [&into](const std::string& given) { into.push_back(given); })
      ->trigger_on_parse();
  parser_->options.push_back(name);
  const auto shown = name + " " + value;
  entries_.push_back({shown, "[" + shown + "]…", std::move(help), in_globals_});
}

void Arguments::flag(const std::string& names, bool& into, std::string help) {
  parser_->app.add_flag_callback(names, [&into] { into = true; });
  const auto longest = names.substr(names.rfind(',') + 1);
  parser_->options.push_back(longest);
  auto shown = names;
  if (const auto comma = shown.find(','); comma != std::string::npos) shown.insert(comma + 1, " ");
  entries_.push_back({shown, "[" + longest + "]", std::move(help), in_globals_});
}

Result<void> Arguments::parse(std::vector<std::string> words) {
  std::reverse(words.begin(), words.end());  // CLI11 takes them from the back
  try {
    parser_->app.parse(std::move(words));
  } catch (const CLI::ArgumentMismatch& mismatch) {
    // Names the option and what it takes, never what it was given.
    return fail(Errc::usage, mismatch.what(), "Each option takes one value and is given once.");
  } catch (const CLI::ParseError&) {
    return fail(Errc::usage, "the arguments could not be read", "A flag takes no value.");
  }
  auto extra = parser_->app.remaining();
  // CLI11 keeps the mark itself; what follows it are positionals, if there is room for them.
  const auto mark = std::find(extra.begin(), extra.end(), "--");
  const bool only_mark = mark != extra.end() && extra.size() == 1;
  if (!extra.empty() && !only_mark) return fail(unexpected({extra.begin(), mark}));
  return {};
}

Result<void> Arguments::check_complete() const {
  for (const auto& [name, option] : parser_->required) {
    if (option->count() == 0) return fail(Errc::usage, name + " is missing");
  }
  return {};
}

Error Arguments::unexpected(const std::vector<std::string>& words) const {
  std::string option;
  for (const auto& word : words) {
    if (!option.empty() || word.size() < 2 || word[0] != '-') continue;
    option = word.substr(0, word.find('='));
  }
  if (explain_) {
    if (auto error = explain_(option)) return *std::move(error);
  }
  if (option.empty()) return {Errc::usage, "there is an argument too many", {}};
  // `-ksecret` is an option with its value too; only the letter is safe to repeat.
  if (option[1] != '-') option.resize(2);
  Error error{Errc::usage, "there is no option " + in_quotes(option) + " here", {}};
  if (const auto close = nearest(option, parser_->options); !close.empty()) {
    error.hint = "Did you mean " + joined(close, " or ") + "?";
  }
  return error;
}

std::string Arguments::usage(std::string_view verb) const {
  constexpr std::size_t kLineLength = 80;
  const std::string indent(14, ' ');
  std::string text = "usage: authdb " + std::string(verb);
  std::size_t column = text.size();
  for (const auto& entry : entries_) {
    if (entry.global) continue;
    if (column + 1 + width(entry.brief) > kLineLength) {
      text += "\n" + indent;
      column = indent.size();
    } else {
      text += ' ';
      ++column;
    }
    text += entry.brief;
    column += width(entry.brief);
  }
  return text;
}

std::string Arguments::described(bool globals) const {
  std::string text;
  for (const auto& entry : entries_) {
    if (entry.global == globals) text += hanging(entry.shown, entry.help);
  }
  return text;
}

}  // namespace authdb::cli
