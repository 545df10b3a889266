#include "tools/render/table.h"

#include <algorithm>

#include "store/scrub.h"
#include "tools/render/text.h"

namespace authdb::cli {
namespace {

constexpr std::size_t kWidestCell = 200;

std::string_view escape(Tone tone) {
  switch (tone) {
    case Tone::plain:
      return {};
    case Tone::good:
      return "\x1b[32m";
    case Tone::caution:
      return "\x1b[33m";
    case Tone::bad:
      return "\x1b[31m";
    case Tone::faint:
      return "\x1b[2m";
  }
  return {};
}

void draw_row(std::ostream& out, const std::vector<TableCell>& row,
              const std::vector<std::size_t>& widths, bool colour) {
  std::size_t last = row.size();  // nothing is padded behind the last cell with text
  while (last > 1 && row[last - 1].text.empty()) --last;
  for (std::size_t i = 0; i < last; ++i) {
    auto text = printable(shortened(row[i].text, kWidestCell));
    const auto padding = i + 1 < last ? widths[i] - width(text) + 2 : 0;
    out << toned(std::move(text), row[i].tone, colour) << std::string(padding, ' ');
  }
  out << '\n';
}

}  // namespace

std::string toned(std::string text, Tone tone, bool colour) {
  if (!colour || tone == Tone::plain || text.empty()) return text;
  return std::string(escape(tone)) + text + "\x1b[0m";
}

void Table::draw(std::ostream& out, bool colour) const {
  std::vector<TableCell> head;
  std::vector<std::size_t> widths;
  for (const auto& name : header_) {
    head.push_back({name, Tone::faint});
    widths.push_back(width(name));
  }
  for (const auto& row : rows_) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], width(printable(shortened(row[i].text, kWidestCell))));
    }
  }
  if (!head.empty()) draw_row(out, head, widths, colour);
  for (const auto& row : rows_) draw_row(out, row, widths, colour);
}

}  // namespace authdb::cli
