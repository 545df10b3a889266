// The members of the JSON object at the beginning of a text that may be cut or broken. Pure,
// thread-safe.
#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

namespace authdb::oauth {

struct JsonFields {
  nlohmann::json object = nlohmann::json::object();  // what arrived of it
  bool closed = false;                               // it has its end; what follows does not matter
};

// What stands for a byte that a string must not have: U+FFFD.
inline constexpr std::string_view kReplacement = "\xef\xbf\xbd";

// False of null and of blanks.
bool says_something(const nlohmann::json& value);

// Members that lie deeper than four levels are left out. Bytes that JSON does not allow inside of a
// string are replaced, and the object then counts as broken. Of a member that is there twice the
// last one counts that says something.
JsonFields read_json_fields(std::string_view text);

}  // namespace authdb::oauth
