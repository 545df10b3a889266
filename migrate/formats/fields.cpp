#include "migrate/formats/fields.h"

#include <charconv>
#include <cmath>
#include <limits>

namespace authdb::migrate {
namespace {

using nlohmann::json;

// An integer in any spelling; a fraction is cut off.
std::optional<std::int64_t> integer_of(const json& value) {
  constexpr auto kMax = std::numeric_limits<std::int64_t>::max();
  if (value.is_number_unsigned() && value.get<std::uint64_t>() > std::uint64_t{kMax}) {
    return std::nullopt;
  }
  if (value.is_number_integer()) return value.get<std::int64_t>();
  if (value.is_number_float()) {
    const double number = value.get<double>();
    if (!std::isfinite(number) || std::fabs(number) > 9e15) return std::nullopt;
    return static_cast<std::int64_t>(number);
  }
  if (!value.is_string()) return std::nullopt;
  const auto& text = value.get_ref<const std::string&>();
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

std::optional<bool> flag_of(const json& value) {
  if (value.is_boolean()) return value.get<bool>();
  if (value == "true") return true;
  if (value == "false") return false;
  return std::nullopt;
}

}  // namespace

std::string wrong_type(const json& value, const char* expected) {
  const std::string name = value.type_name();
  const bool vowel = name == "array" || name == "object";
  return "is " +
         std::string(value.is_null() ? ""
                     : vowel         ? "an "
                                     : "a ") +
         name + ", not " + expected;
}

const char* first_not_text(const json& object, std::span<const char* const> keys) {
  for (const char* key : keys) {
    const auto it = object.find(key);
    if (it != object.end() && !it->is_string() && !it->is_null()) return key;
  }
  return nullptr;
}

bool has_text(const json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_string() && !it->get_ref<const std::string&>().empty();
}

bool has_secret(const json& object, const char* key) {
  return has_text(object, key) && object.at(key) != kHeldElsewhere;
}

void rename(json& object, const char* from, const char* to) {
  const auto it = object.find(from);
  if (it == object.end() || object.contains(to)) return;
  json value = std::move(*it);
  object.erase(it);
  object[to] = std::move(value);
}

// Drops a null, which says no more than absence does.
std::string* Fields::string_at(const char* key) {
  const auto it = object_.find(key);
  if (it == object_.end()) return nullptr;
  if (it->is_null()) {
    object_.erase(it);
    return nullptr;
  }
  return it->is_string() ? it->get_ptr<std::string*>() : nullptr;
}

std::string Fields::text(const char* key) {
  std::string* found = string_at(key);
  if (!found) return {};
  std::string value = std::move(*found);
  object_.erase(key);
  return value;
}

Secret Fields::secret(const char* key) {
  std::string* found = string_at(key);
  if (!found) return {};
  if (*found == kHeldElsewhere) found->clear();
  Secret value = Secret::take(std::move(*found));
  object_.erase(key);
  return value;
}

std::optional<ParsedTime> Fields::time(const char* key) {
  const auto it = object_.find(key);
  if (it == object_.end()) return std::nullopt;
  const auto value = parse_time(*it, NaiveTime::utc);
  if (it->is_null() || (value && !value->naive)) object_.erase(it);
  return value;
}

std::optional<std::int64_t> Fields::integer(const char* key) {
  const auto it = object_.find(key);
  if (it == object_.end()) return std::nullopt;
  const auto value = integer_of(*it);
  if (value || it->is_null()) object_.erase(it);
  return value;
}

std::optional<bool> Fields::flag(const char* key) {
  const auto it = object_.find(key);
  if (it == object_.end()) return std::nullopt;
  const auto value = flag_of(*it);
  if (value || it->is_null()) object_.erase(it);
  return value;
}

}  // namespace authdb::migrate
