// Reading the control API's JSON strictly: what is unknown or of the wrong type is refused by name.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace authdb::portal {

// Its text names the offending field and goes back to the client as a 400.
class BadRequest : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A table of field names and how each is stored into a T.
template <typename T>
using FieldTable = std::vector<std::pair<std::string, void (*)(T&, const nlohmann::json&)>>;

// Throws BadRequest unless every member of `object` is in the table and has the type it expects.
template <typename T>
T read_fields(const nlohmann::json& object, const FieldTable<T>& table) {
  if (!object.is_object()) throw BadRequest("expected a JSON object");
  T result;
  for (const auto& [name, value] : object.items()) {
    const auto field = std::find_if(table.begin(), table.end(),
                                    [&name = name](const auto& row) { return row.first == name; });
    if (field == table.end()) throw BadRequest("unknown field \"" + name + "\"");
    try {
      field->second(result, value);
    } catch (const nlohmann::json::exception&) {
      throw BadRequest("field \"" + name + "\" has the wrong type");
    }
  }
  return result;
}

inline std::chrono::seconds seconds_of(const nlohmann::json& value) {
  return std::chrono::seconds(value.get<std::int64_t>());
}

}  // namespace authdb::portal
