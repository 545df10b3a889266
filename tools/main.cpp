// The authdb command.
#include <unistd.h>

#include <iostream>

#include "tools/command.h"
#include "tools/secret_input.h"

int main(int argc, char** argv) {
  using namespace authdb::cli;
  WipingInput stdin_bytes(STDIN_FILENO);
  std::istream in(&stdin_bytes);
  Context context{in, std::cout, std::cerr};
  context.out_is_terminal = ::isatty(STDOUT_FILENO) == 1;
  context.err_is_terminal = ::isatty(STDERR_FILENO) == 1;
  if (::isatty(STDIN_FILENO) == 1) context.ask = ask_hidden;
  return dispatch({argv + 1, argv + argc}, context);
}
