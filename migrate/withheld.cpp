#include "migrate/withheld.h"

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <cstring>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "migrate/encodings.h"
#include "migrate/formats/fields.h"
#include "migrate/formats/json_text.h"
#include "store/fingerprint.h"
#include "store/target.h"
#include "store/timestamp.h"

namespace authdb::migrate {
namespace {

using nlohmann::json;

// Bytes. What is shorter is a word, unless it is a current token and nothing else.
constexpr std::size_t kShortest = 8;
// And with letters right beside it, that is part of one.
constexpr std::size_t kShortestWithin = 16;

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

// Finds any of many tokens wherever one stands in a text, in a time that does not depend on how
// many there are: by their last eight bytes, of which few texts have the same.
class Tokens {
 public:
  void add(Secret token) {
    if (token.size() < kShortestWithin || all_.contains(token.reveal())) return;
    std::vector<std::size_t>& lengths = lengths_[end_of(token.reveal())];
    if (std::find(lengths.begin(), lengths.end(), token.size()) == lengths.end()) {
      lengths.push_back(token.size());
    }
    filter_[filter_place(end_of(token.reveal()))] = true;
    kept_.push_back(std::move(token));
    all_.insert(kept_.back().reveal());
  }

  bool has_one_in(std::string_view text) const {
    for (std::size_t end = kShortestWithin; end <= text.size(); ++end) {
      const std::string_view before = text.substr(0, end);
      if (filter_[filter_place(end_of(before))] && ends_with_one(before)) return true;
    }
    return false;
  }

 private:
  // Half a megabyte: of the places in a text, 100,000 tokens let one in forty pass.
  static constexpr unsigned kFilterBits = 22;

  static std::uint64_t end_of(std::string_view text) {
    std::uint64_t end = 0;
    std::memcpy(&end, text.data() + text.size() - sizeof(end), sizeof(end));
    return end;
  }
  static std::size_t filter_place(std::uint64_t end) {
    return static_cast<std::size_t>((end * 0x9E3779B97F4A7C15U) >> (64 - kFilterBits));
  }
  bool ends_with_one(std::string_view text) const {
    const auto lengths = lengths_.find(end_of(text));
    if (lengths == lengths_.end()) return false;
    return std::any_of(lengths->second.begin(), lengths->second.end(), [&](std::size_t length) {
      return length <= text.size() && all_.contains(text.substr(text.size() - length));
    });
  }

  std::vector<Secret> kept_;
  std::unordered_set<std::string_view> all_;
  std::unordered_map<std::uint64_t, std::vector<std::size_t>> lengths_;
  std::vector<bool> filter_ = std::vector<bool>(std::size_t{1} << kFilterBits);
};

class Withholding {
 public:
  explicit Withholding(const Store& store) : store_(store) {
    const auto rows = store.list({.provider = {}, .profile = {}, .include_removed = true});
    if (!rows) throw StoreFailed{rows.error()};
    for (const Credential& row : *rows) {
      if (!row.refresh_hash) continue;
      current_.insert(*row.refresh_hash);
      // What cannot be opened is known by its hash alone, like what is retired.
      if (auto held = store.unseal(row.uid)) tokens_.add(std::move(held->refresh_token));
    }
  }

  // `named`: it stands in a field that speaks of refreshing.
  void clean(json& node, bool named) {
    if (node.is_string()) {
      const auto any = [](const json&) { return true; };
      if (has_named(node, named, any) || tells_one(node.get_ref<const std::string&>())) {
        drop(node);
      }
    } else if (node.is_array()) {
      for (json& item : node) clean(item, named);
    } else if (node.is_object()) {
      clean_members(node, named);
    }
  }

  // Something that is called a refresh token, and is none that the store knows.
  bool has_unknown(const json& tree) const {
    return has_named(tree, false, [&](const json& value) {
      return !value.is_string() || !is_known(token_hash(value.get_ref<const std::string&>()));
    });
  }

 private:
  // JSON in a text in a text.
  static constexpr int kNested = 3;

  static bool is_called_one(const std::string& name) {
    return name == "refresh_token" || name == "refreshToken";
  }

  // True if `fits` any value that is a refresh token by its name; also in a text that is JSON.
  // What an export takes out by its name and what it must not be written over are the same.
  template <typename Fits>
  static bool has_named(const json& node, bool named, const Fits& fits, int nested = kNested) {
    if (node.is_string()) {
      return (named && may_be_one(node) && fits(node)) || is_json_with_named(node, fits, nested);
    }
    if (node.is_array()) {
      return std::any_of(node.begin(), node.end(),
                         [&](const json& item) { return has_named(item, named, fits, nested); });
    }
    if (!node.is_object()) return false;
    const auto& members = node.get_ref<const json::object_t&>();
    return std::any_of(members.begin(), members.end(), [&](const auto& member) {
      const auto& [name, value] = member;
      if (is_called_one(name) && is_something(value) && fits(value)) return true;
      return has_named(value, named || speaks_of_refresh(name), fits, nested);
    });
  }

  // Of what has the very name of one: what looks like a time, too.
  static bool is_something(const json& value) {
    if (!value.is_string()) return value.is_number();
    const auto& text = value.get_ref<const std::string&>();
    return !text.empty() && text != kHeldElsewhere && !is_fingerprint(text);
  }

  template <typename Fits>
  static bool is_json_with_named(const json& node, const Fits& fits, int nested) {
    const auto& text = node.get_ref<const std::string&>();
    const auto first = text.find_first_not_of(" \t\r\n");
    if (nested == 0 || first == std::string::npos) return false;
    if (text[first] != '{' && text[first] != '[' && text[first] != '"') return false;
    auto inner = parse_json(text, {});
    if (!inner) return false;
    const bool has = has_named(*inner, false, fits, nested - 1);
    wipe_strings(*inner);
    return has;
  }

  void clean_members(json& object, bool named) {
    for (auto it = object.begin(); it != object.end();) {
      const std::string& name = it.key();
      if ((is_called_one(name) && !it->is_null() && *it != kHeldElsewhere) || tells_one(name)) {
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
    return !text.empty() && any_reading(text, [&](std::string_view reading) {
      return tokens_.has_one_in(reading) || is_one(reading) || has_piece(reading, kAround) ||
             has_piece(reading, kAroundMost);
    });
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
    if (text.size() < kShortest) return current_.count(hash) != 0;
    return is_known(hash);
  }

  bool is_known(const TokenHash& hash) const {
    if (current_.count(hash) != 0) return true;
    if (strange_.count(hash) != 0) return false;
    const auto retired = store_.retired(hash);
    if (!retired) throw StoreFailed{retired.error()};
    if (!retired->has_value()) remember_strange(hash);
    return retired->has_value();
  }

  // The same words stand in row after row.
  void remember_strange(const TokenHash& hash) const {
    constexpr std::size_t kMost = 10'000;
    if (strange_.size() >= kMost) strange_.clear();
    strange_.insert(hash);
  }

  const Store& store_;
  std::set<TokenHash> current_;
  Tokens tokens_;
  mutable std::set<TokenHash> strange_;  // no retired token, as was asked already
};

}  // namespace

Result<bool> has_unknown_refresh_token(const json& tree, const Store& store) {
  try {
    return Withholding(store).has_unknown(tree);
  } catch (StoreFailed& failed) {
    return fail(std::move(failed.error));
  }
}

Result<void> withhold_refresh_tokens(json& tree, const Store& store) {
  try {
    Withholding(store).clean(tree, false);
  } catch (StoreFailed& failed) {
    return fail(std::move(failed.error));
  }
  return {};
}

}  // namespace authdb::migrate
