// The last thing between the command and a terminal: whatever a file, a server or another user put
// into a label, a path or a message, it arrives there as text.
#pragma once

#include <ostream>
#include <streambuf>
#include <string>
#include <string_view>

namespace authdb::cli {

// Takes the first character off `text`, which is not empty, and gives what may be shown of it:
// itself, or `?` for what a terminal or a person could take for something else than itself
// (controls, what turns the direction of writing, separators, tags) and for a byte that is no UTF-8
// (RFC 3629).
std::string_view take_character(std::string_view& text);

// While it exists, what is written to `stream` goes through it: `?` stands for each misleading
// character and each byte that is no UTF-8. Line ends, tabs, colours and what clears a line pass.
class SafeOutput final : public std::streambuf {
 public:
  explicit SafeOutput(std::ostream& stream);
  ~SafeOutput() override;
  SafeOutput(const SafeOutput&) = delete;
  SafeOutput& operator=(const SafeOutput&) = delete;

  // Bytes that are to arrive as they are: a file's content.
  bool put_unchanged(std::string_view bytes);

 protected:
  int_type overflow(int_type byte) override;
  std::streamsize xsputn(const char* bytes, std::streamsize count) override;
  int sync() override;

 private:
  bool take(bool at_end);

  std::ostream& stream_;
  std::streambuf* below_;
  std::string pending_;  // of a character or sequence that is not whole yet
};

}  // namespace authdb::cli
