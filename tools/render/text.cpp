#include "tools/render/text.h"

#include <algorithm>

#include "tools/render/safe_output.h"

namespace authdb::cli {
namespace {

constexpr std::size_t kLongestName = 40;  // no provider, profile or label of ours; most keys
constexpr std::size_t kTermColumn = 26;
constexpr std::size_t kLineLength = 90;

bool continues_character(char byte) { return (static_cast<unsigned char>(byte) & 0xC0U) == 0x80U; }

}  // namespace

std::string printable(std::string_view text) {
  std::string clean;
  clean.reserve(text.size());
  while (!text.empty()) clean += take_character(text);
  return clean;
}

std::string in_quotes(std::string_view text) {
  if (text.size() > kLongestName) return "\"" + printable(text.substr(0, 4)) + "…\"";
  return "\"" + printable(text) + "\"";
}

std::string joined(const std::vector<std::string>& words, std::string_view between) {
  std::string text;
  for (const auto& word : words) {
    if (!text.empty()) text += between;
    text += printable(word);
  }
  return text;
}

std::string counted(std::int64_t n, std::string_view noun) {
  const auto text = std::to_string(n) + " " + std::string(noun);
  return n == 1 ? text : text + "s";
}

std::size_t width(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return !continues_character(c); }));
}

std::string hanging(std::string_view term, std::string_view meaning) {
  std::string text = "  " + std::string(term);
  std::size_t column = width(text);
  const auto to_column = [&] {
    if (column + 2 > kTermColumn) text += '\n', column = 0;
    text.append(kTermColumn - column, ' ');
    column = kTermColumn;
  };
  to_column();
  bool first = true;
  while (!meaning.empty()) {
    const auto word = meaning.substr(0, meaning.find(' '));
    meaning.remove_prefix(std::min(meaning.size(), word.size() + 1));
    if (!first && column + 1 + width(word) > kLineLength) {
      text += '\n';
      column = 0;
      to_column();
      first = true;
    }
    if (!first) text += ' ', ++column;
    text += word;
    column += width(word);
    first = false;
  }
  return text + "\n";
}

}  // namespace authdb::cli
