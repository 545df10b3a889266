#include "tools/render/json.h"

#include "store/timestamp.h"

namespace authdb::cli {

void print_json(std::ostream& out, const Json& json) {
  out << json.dump(2, ' ', /*ensure_ascii=*/true, Json::error_handler_t::replace) << '\n';
}

Json to_json(const Cell& cell) {
  return std::visit(
      [](const auto& value) -> Json {
        if constexpr (std::is_same_v<std::decay_t<decltype(value)>, std::monostate>) {
          return nullptr;
        } else {
          return value;
        }
      },
      cell);
}

Json to_json(const std::optional<Instant>& at) { return at ? Json(format_iso(*at)) : Json(); }

Json or_null(const std::string& text) { return text.empty() ? Json() : Json(text); }

}  // namespace authdb::cli
