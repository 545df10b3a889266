// Finds and loads the libcurl module. It is code that sees every token, so it is looked for in few
// places: beside this library or the program it is part of, and where it was installed. Neither the
// working directory nor a variable says where.
#pragma once

#include <string>

#include "oauth/http_module.h"

namespace authdb::oauth {

struct HttpModule {
  AuthdbHttpPerform* perform = nullptr;  // null: `problem` says why
  AuthdbHttpRelease* release = nullptr;
  std::string problem = {};  // for a person: what was refused, and the mend
};

// Loaded by the first call, once, and never unloaded; the first of the places that has one decides.
// One that another user could have put or changed there is refused (check_loadable()). Thread-safe,
// and safe to fork() beside.
const HttpModule& http_module();

// Why there is nothing to load, as far as its place and file tell; empty: there is. Loads nothing.
std::string missing_http_module();

}  // namespace authdb::oauth
