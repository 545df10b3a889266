// Opens a page in the person's browser, as the desktop is set up to.
#pragma once

#include <string>

#include "oauth/provider.h"

namespace authdb::cli {

// True if this machine shows somebody a browser, as far as the environment says.
bool has_browser(const oauth::Environment& environment);

// Starts xdg-open and does not wait for it. Only https, and http on this machine, is ever opened.
// False if it could not be started.
bool open_in_browser(const std::string& url);

}  // namespace authdb::cli
