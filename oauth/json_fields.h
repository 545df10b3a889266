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

// What a value tells, where it is said twice: null and blanks nothing (0), the token that was
// `sent` nothing new (1), everything else more (2).
int news_in(const nlohmann::json& value, std::string_view sent);

// Members that lie deeper than four levels are left out. Bytes that JSON does not allow inside of a
// string are replaced, and the object then counts as broken. Of a member that is there twice the
// one counts that tells most, and of equals the last.
JsonFields read_json_fields(std::string_view text, std::string_view sent = {});

}  // namespace authdb::oauth
