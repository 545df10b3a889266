// Puts what has changed in a tree into the text that the tree was read from: everything else keeps
// its bytes, its order and its spelling, as the tool that owns the file wrote it. Pure,
// thread-safe.
#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

#include "store/secret.h"

namespace authdb::migrate {

// `text` is JSON that parse_json() takes; `after` is wiped. Reading the result gives `after`, and
// it is `text` itself where that says the same. A member that is new goes behind the others of its
// object, spaced like the first of them; an array of another length is written anew.
Secret edited_text(std::string_view text, nlohmann::json&& after);

}  // namespace authdb::migrate
