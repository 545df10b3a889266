// Takes refresh tokens out of a file that must have none.
#pragma once

#include <nlohmann/json.hpp>

#include "store/result.h"
#include "store/store.h"

namespace authdb::migrate {

// Out of every field at any depth, whether a reader knows it or not:
// - what is called one: `refresh_token` and `refreshToken` go. Texts of a field whose name has
//   `refresh` in it become null, unless they are times, fingerprints, or the word kHeldElsewhere.
//   So does a text that is JSON with such a field in it.
// - what the store knows as one, current or retired, of any credential. A text that is one, or has
//   one in it, becomes null; whether plain or encoded (encodings.h). A member that is called so
//   goes. Of those that are retired only hashes are known: they are found between blanks and
//   punctuation. The current ones are found with anything beside them, from 16 bytes on.
// Errors as of the store; the tree is then not to be used.
Result<void> withhold_refresh_tokens(nlohmann::json& tree, const Store& store);

// True if some field has what would be taken out above by its name, and the store does not know it,
// neither as current nor as retired.
Result<bool> has_unknown_refresh_token(const nlohmann::json& tree, const Store& store);

}  // namespace authdb::migrate
