#include "migrate/withheld.h"

#include <algorithm>
#include <cctype>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "migrate/fields.h"
#include "migrate/json_text.h"
#include "store/fingerprint.h"
#include "store/target.h"
#include "store/timestamp.h"

namespace authdb::migrate {
namespace {

using nlohmann::json;

// Bytes. What is shorter is a word, unless it is a current token and nothing else.
constexpr std::size_t kShortest = 8;

// What stands around a token in other text: first what no token has, then also what few have.
constexpr std::string_view kAround = " \t\r\n\"'`\\,;<>(){}[]&?#";
constexpr std::string_view kAroundMost = " \t\r\n\"'`\\,;<>(){}[]&?#=:/|@";

struct StoreFailed {
  Error error;
};

bool speaks_of_refresh(std::string_view name) {
  constexpr std::string_view kWord = "refresh";
  const auto same = [](char a, char b) { return std::tolower(static_cast<unsigned char>(a)) == b; };
  return std::search(name.begin(), name.end(), kWord.begin(), kWord.end(), same) != name.end();
}

class Withholding {
 public:
  explicit Withholding(const Store& store) : store_(store) {
    const auto rows = store.list({.provider = {}, .profile = {}, .include_removed = true});
    if (!rows) throw StoreFailed{rows.error()};
    for (const Credential& row : *rows) {
      if (row.refresh_hash) current_.insert(*row.refresh_hash);
    }
  }

  // `named`: it stands in a field that speaks of refreshing.
  void clean(json& node, bool named) {
    if (node.is_string()) {
      if ((named && may_be_one(node)) || tells_one(node.get_ref<const std::string&>())) {
        drop(node);
      }
    } else if (node.is_array()) {
      for (json& item : node) clean(item, named);
    } else if (node.is_object()) {
      clean_members(node, named);
    }
  }

 private:
  void clean_members(json& object, bool named) {
    for (auto it = object.begin(); it != object.end();) {
      const std::string& name = it.key();
      const bool is_one = name == "refresh_token" || name == "refreshToken";
      if ((is_one && !it->is_null() && *it != kHeldElsewhere) || tells_one(name)) {
        drop(*it);
        it = object.erase(it);
        continue;
      }
      clean(*it, named || speaks_of_refresh(name));
      ++it;
    }
  }

  static void drop(json& value) {
    wipe_strings(value);
    value = nullptr;
  }

  static bool may_be_one(const json& value) {
    const auto& text = value.get_ref<const std::string&>();
    return !text.empty() && text != kHeldElsewhere && !is_fingerprint(text) &&
           !parse_time(value, NaiveTime::utc);
  }

  bool tells_one(std::string_view text) const {
    if (text.empty()) return false;
    if (is_one(text)) return true;
    return has_piece(text, kAround) || has_piece(text, kAroundMost);
  }

  bool has_piece(std::string_view text, std::string_view around) const {
    for (std::size_t at = 0; at < text.size();) {
      const auto end = std::min(text.find_first_of(around, at), text.size());
      const std::string_view piece = text.substr(at, end - at);
      if (piece.size() >= kShortest && piece.size() < text.size() && is_one(piece)) {
        return true;
      }
      at = end + 1;
    }
    return false;
  }

  bool is_one(std::string_view text) const {
    const TokenHash hash = token_hash(text);
    if (current_.count(hash) != 0) return true;
    if (text.size() < kShortest) return false;
    const auto retired = store_.retired(hash);
    if (!retired) throw StoreFailed{retired.error()};
    return retired->has_value();
  }

  const Store& store_;
  std::set<TokenHash> current_;
};

}  // namespace

Result<void> withhold_refresh_tokens(json& tree, const Store& store) {
  try {
    Withholding(store).clean(tree, false);
  } catch (StoreFailed& failed) {
    return fail(std::move(failed.error));
  }
  return {};
}

}  // namespace authdb::migrate
