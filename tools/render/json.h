// JSON on stdout: insertion order, one document, text that is not UTF-8 replaced rather than fatal.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>

#include "store/clock.h"
#include "store/store.h"

namespace authdb::cli {

using Json = nlohmann::ordered_json;

void print_json(std::ostream& out, const Json& json);

Json to_json(const Cell& cell);
Json to_json(const std::optional<Instant>& at);  // ISO 8601, or null
Json or_null(const std::string& text);           // null for "unknown"

}  // namespace authdb::cli
