// One object of Hermes's, a pool's row or a provider's block, as a Row. Private to formats/.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "migrate/formats/hermes.h"

namespace authdb::migrate::hermes {

inline constexpr std::size_t kShownError = 300;  // bytes of what a server said

// Empty where the field is not there, or no text.
std::string text_at(const nlohmann::json& object, const char* key);
// Some field of the object is a secret, or says that there is one elsewhere.
bool holds_secret(const nlohmann::json& object);
// The first field that makes the whole object unusable by its type; nullptr: there is none.
const char* field_of_wrong_type(const nlohmann::json& object);

// `is_singleton`: a provider's block or a side file. Of an object that has no such field.
Row read_row(Block block, bool is_singleton);
// When the row's rest is over, where the file does not say. `sole`: its pool has no other.
void end_cooldown(Row& row, bool sole);

}  // namespace authdb::migrate::hermes
