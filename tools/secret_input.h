// Secrets come in on stdin or from a hidden prompt, never as arguments: argv is visible to every
// process of the machine and kept in the shell's history.
#pragma once

#include <istream>
#include <streambuf>
#include <string_view>

#include "store/result.h"
#include "store/secret.h"
#include "tools/command.h"

namespace authdb::cli {

// Everything that is left on the stream, at most 1 MiB; usage if there is more.
Result<Secret> read_all(std::istream& in);

// One secret from the prompt if there is a person, else from stdin; white space around it is no
// part of it. usage if there is none, or if it has white space or control characters inside.
Result<Secret> read_secret(Context& context, std::string_view prompt);

// A hidden prompt on the controlling terminal. A signal that ends the process leaves the terminal
// with its echo on.
Result<Secret> ask_hidden(std::string_view prompt);

// Reads a descriptor without leaving what it read behind: std::cin's buffer is never wiped.
class WipingInput : public std::streambuf {
 public:
  explicit WipingInput(int descriptor) : descriptor_(descriptor) {}
  ~WipingInput() override { wipe(buffer_, sizeof buffer_); }

 protected:
  int_type underflow() override;

 private:
  int descriptor_;
  char buffer_[4096] = {};
};

}  // namespace authdb::cli
