// Takes out of other people's text what might be a token, so that the rest may be shown.
#pragma once

#include <string>
#include <string_view>

namespace authdb::migrate {

// Every run of 20 or more characters as tokens are made of becomes `[…]`, and so does a shorter one
// that begins as tokens do (`sk-`, `eyJ`, …). At most 300 bytes are kept.
std::string scrubbed(std::string_view text);

}  // namespace authdb::migrate
