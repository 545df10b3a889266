// One JSON object on its way to typed fields. What is taken is gone from the object; what is left
// at the end is foreign, and kept.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "store/secret.h"
#include "store/timestamp.h"

namespace authdb::migrate {

// Stands where a tool insists on a refresh token and must not have one; it is never taken for a
// token.
inline constexpr std::string_view kHeldElsewhere = "held-by-authdb";

class Fields {
 public:
  // `object` must be one, and outlive this.
  explicit Fields(nlohmann::json& object) : object_(object) {}

  // Empty if null or absent. What is not of the type, or not understood (then it is unknown), stays
  // in the object as it is; so does the text of a time without offset.
  std::string text(const char* key);
  Secret secret(const char* key);
  std::optional<ParsedTime> time(const char* key);
  std::optional<std::int64_t> integer(const char* key);
  std::optional<bool> flag(const char* key);

 private:
  std::string* string_at(const char* key);

  nlohmann::json& object_;
};

// `is a number, not text`
std::string wrong_type(const nlohmann::json& value, const char* expected);

// The first of `keys` that is there and neither text nor null.
const char* first_not_text(const nlohmann::json& object, std::span<const char* const> keys);

// True if the field is text, and not empty.
bool has_text(const nlohmann::json& object, const char* key);

// True if it is, and names no token that is held elsewhere.
bool has_secret(const nlohmann::json& object, const char* key);

// Moves a field to where readers look for it, unless something is there already.
void rename(nlohmann::json& object, const char* from, const char* to);

}  // namespace authdb::migrate
