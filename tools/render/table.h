// Tables for people: aligned columns, colour where it is wanted.
#pragma once

#include <ostream>
#include <string>
#include <vector>

namespace authdb::cli {

enum class Tone { plain, good, caution, bad, faint };

// The text in its tone, or as it is if there is to be no colour.
std::string toned(std::string text, Tone tone, bool colour);

struct TableCell {
  std::string text;  // made printable when it is drawn
  Tone tone = Tone::plain;
};

class Table {
 public:
  // An empty header is not drawn.
  explicit Table(std::vector<std::string> header) : header_(std::move(header)) {}
  // As many cells as the header has, if there is one.
  void add(std::vector<TableCell> row) { rows_.push_back(std::move(row)); }
  bool empty() const { return rows_.empty(); }
  void draw(std::ostream& out, bool colour) const;

 private:
  std::vector<std::string> header_;
  std::vector<std::vector<TableCell>> rows_;
};

}  // namespace authdb::cli
