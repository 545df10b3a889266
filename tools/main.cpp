// The authdb command.
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <typeinfo>

#include "tools/browser.h"
#include "tools/closed_memory.h"
#include "tools/command.h"
#include "tools/secret_input.h"

namespace {

// Nothing is meant to throw this far. What the exception says stays unsaid: a library may quote
// what it was reading, and that may be a token.
int report_defect(const std::exception& exception) {
  std::cerr << "authdb: unexpected: " << typeid(exception).name() << '\n'
            << "  This is a defect of authdb, or the machine is out of memory.\n";
  return authdb::cli::exit_code(authdb::Errc::unexpected);
}

}  // namespace

int main(int argc, char** argv) try {
  using namespace authdb::cli;
  close_memory();
  ::unsetenv("SSLKEYLOGFILE");    // libcurl would write there what opens every connection
  std::signal(SIGXFSZ, SIG_IGN);  // a file that may not grow is an error like a full disk
  WipingInput stdin_bytes(STDIN_FILENO);
  std::istream in(&stdin_bytes);
  Context context{in, std::cout, std::cerr};
  context.out_is_terminal = ::isatty(STDOUT_FILENO) == 1;
  context.err_is_terminal = ::isatty(STDERR_FILENO) == 1;
  if (::isatty(STDIN_FILENO) == 1) context.ask = ask_hidden;
  if (has_browser(context.env)) context.browse = open_in_browser;
  return dispatch({argv + 1, argv + argc}, context);
} catch (const std::exception& exception) {
  return report_defect(exception);
}
