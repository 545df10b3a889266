// Bodies of token requests, and of the answers that some servers give in the same way. What
// requests are built from is secret, so they are built in place.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "store/secret.h"

namespace authdb::oauth {

using FormFields = std::vector<std::pair<std::string_view, std::string_view>>;

// application/x-www-form-urlencoded.
Secret form_body(const FormFields& fields);
// A name or a value of one; nullopt if it is badly encoded.
std::optional<std::string> form_decoded(std::string_view text);
// One JSON object of strings.
Secret json_body(const FormFields& fields);
// `Basic …` of RFC 7617, with id and secret form-encoded first (RFC 6749 section 2.3.1).
Secret basic_credentials(std::string_view id, std::string_view secret);

}  // namespace authdb::oauth
