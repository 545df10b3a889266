// A bearer as JSON: the shape of `token --json`, with or without the token in it.
#pragma once

#include <ostream>

#include "oauth/bearer.h"

namespace authdb::cli {

enum class Reveal { no, yes };

void print_bearer_json(std::ostream& out, const oauth::Bearer& bearer, Instant now, Reveal reveal);

std::string_view action_word(Action action);

}  // namespace authdb::cli
