#include "migrate/formats/imprint.h"

#include <algorithm>
#include <array>

#include "migrate/formats/json_text.h"

namespace authdb::migrate {
namespace {

using nlohmann::json;

std::array<std::string, 3> name_of(const json& place) {
  return {place.value("profile", ""), place.value("format", ""), place.value("where", "")};
}

}  // namespace

std::vector<Imprint> imprints_in(const json& extra) {
  std::vector<Imprint> places;
  const auto list = extra.find(kImprints);
  if (list == extra.end() || !list->is_array()) return places;
  for (const json& place : *list) {
    places.push_back({place.value("profile", ""), place.value("format", ""),
                      place.value("where", ""), place.value("as", json::object())});
  }
  return places;
}

json imprint_json(const Document& document, const Row& row) {
  return {{"profile", document.profile},
          {"format", document.format},
          {"where", row.where},
          {"as", open_text(row.original)}};
}

json merged_imprints(json fresh, const json& stored) {
  const auto same_file = [](const json& a, const json& b) {
    return a.value("profile", "") == b.value("profile", "") &&
           a.value("format", "") == b.value("format", "");
  };
  json kept = json::array();
  for (const json& place : stored) {
    const bool replaced = std::any_of(fresh.begin(), fresh.end(),
                                      [&](const json& newer) { return same_file(place, newer); });
    if (!replaced) kept.push_back(place);
  }
  for (json& place : kept) fresh.push_back(std::move(place));
  // In one order, however they were found: then a file that says nothing new changes nothing.
  std::stable_sort(fresh.begin(), fresh.end(),
                   [](const json& a, const json& b) { return name_of(a) < name_of(b); });
  return fresh;
}

}  // namespace authdb::migrate
