// Bodies of token requests. What they are built from is secret, so they are built in place.
#pragma once

#include <string_view>
#include <utility>
#include <vector>

#include "store/secret.h"

namespace authdb::oauth {

using FormFields = std::vector<std::pair<std::string_view, std::string_view>>;

// application/x-www-form-urlencoded.
Secret form_body(const FormFields& fields);
// One JSON object of strings.
Secret json_body(const FormFields& fields);
// `Basic …` of RFC 7617, with id and secret form-encoded first (RFC 6749 section 2.3.1).
Secret basic_credentials(std::string_view id, std::string_view secret);

}  // namespace authdb::oauth
