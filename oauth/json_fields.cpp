#include "oauth/json_fields.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "store/secret.h"

namespace authdb::oauth {
namespace {

using nlohmann::json;

constexpr std::size_t kDeepest = 4;

// A number as far as its spelling goes, and yet one that JSON cannot hold.
bool is_beyond_json(std::string_view word) {
  double value = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (end != word.data() + word.size()) return false;
  return error == std::errc::result_out_of_range || (error == std::errc() && !std::isfinite(value));
}

// Where the string that begins at `start` ends.
std::size_t end_of_string(std::string_view text, std::size_t start) {
  std::size_t end = start + 1;
  while (end < text.size() && text[end] != '"') end += text[end] == '\\' ? 2U : 1U;
  return std::min(end + 1, text.size());
}

// What is no UTF-8 is replaced. No whole token comes here: they are ASCII.
std::string as_utf8(std::string_view text) {
  const std::string dumped = json(text).dump(-1, ' ', false, json::error_handler_t::replace);
  return json::parse(dumped).get<std::string>();
}

// What JSON does not allow inside of a string (a Latin-1 letter in a name, a raw tab) is no reason
// to lose what follows it. False if there was any. Whoever finds kReplacement in a token knows that
// it is not the token.
void append_string(std::string& out, std::string_view text) {
  const auto is_ascii = [](char c) { return static_cast<unsigned char>(c) < 0x80; };
  std::string valid;
  if (!std::all_of(text.begin(), text.end(), is_ascii)) text = valid = as_utf8(text);
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < ' ') {
      out += kReplacement;
    } else {
      out += c;
    }
  }
}

// The text with such numbers, outside of strings, replaced by null, and with strings that a parser
// takes. All else stays as it is: that a document is broken must not be mended away.
std::string as_parsable(std::string_view text) {
  std::string out;
  out.reserve(text.size() * 3 + 8);  // so that it never moves and leaves a copy behind
  for (std::size_t i = 0; i < text.size();) {
    const bool quoted = text[i] == '"';
    auto end = quoted ? end_of_string(text, i)
                      : std::min(text.find_first_of(" \t\r\n,:[]{}\"", i), text.size());
    end = std::max(end, i + 1);
    const std::string_view word = text.substr(i, end - i);
    if (quoted) {
      append_string(out, word);
    } else {
      out += is_beyond_json(word) ? std::string_view("null") : word;
    }
    i = end;
  }
  return out;
}

// Builds the tree as far as the parser gets. A string is reported when its closing quote has been
// read, a number also where the text ends: whether it is whole shows only in what follows it.
// NOLINTNEXTLINE(bugprone-exception-escape): a tree that does not fit in memory ends the program
class Builder final : public nlohmann::json_sax<json> {
 public:
  explicit Builder(std::string_view sent) : sent_(sent) {}

  json root;
  bool closed = false;
  bool clean = true;  // nothing in it was replaced

  bool null() override { return put(nullptr); }
  bool boolean(bool value) override { return put(value); }
  bool number_integer(number_integer_t value) override { return put_number(value); }
  bool number_unsigned(number_unsigned_t value) override { return put_number(value); }
  bool number_float(number_float_t value, const string_t&) override { return put_number(value); }
  bool string(string_t& value) override {
    clean = clean && value.find(kReplacement) == std::string::npos;
    return put(value);
  }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return open(json::object()); }
  bool start_array(std::size_t) override { return open(json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(string_t& value) override {
    clean = clean && value.find(kReplacement) == std::string::npos;
    number_of_ = nullptr;
    key_ = value;
    return true;
  }
  bool parse_error(std::size_t, const std::string&, const json::exception&) override {
    if (number_of_ != nullptr) number_of_->erase(key_);
    return false;
  }

 private:
  json* place(json value) {
    number_of_ = nullptr;
    if (open_.empty()) return &(root = std::move(value));
    json* parent = open_.back();
    if (parent == nullptr) return nullptr;  // too deep
    if (parent->is_array()) return &parent->emplace_back(std::move(value));
    json& member = (*parent)[key_];
    // Said twice: what tells less does not displace what tells more, and objects become one.
    const bool kept =
        news_in(member, sent_) > news_in(value, sent_) || (member.is_object() && value.is_object());
    if (!kept) member = std::move(value);
    return &member;
  }
  bool put(json value) {
    place(std::move(value));
    return true;
  }
  bool put_number(json value) {
    place(std::move(value));
    const bool member = !open_.empty() && open_.back() != nullptr && open_.back()->is_object();
    number_of_ = member ? open_.back() : nullptr;
    return true;
  }
  bool open(json container) {
    json* placed = open_.size() < kDeepest ? place(std::move(container)) : nullptr;
    open_.push_back(placed);
    return true;
  }
  bool close() {
    number_of_ = nullptr;
    open_.pop_back();
    closed = open_.empty();
    return true;
  }

  std::string_view sent_;
  std::vector<json*> open_;  // from the root; nullptr: left out
  std::string key_;
  json* number_of_ = nullptr;  // the object whose last member is a number that may be cut
};

}  // namespace

int news_in(const json& value, std::string_view sent) {
  if (!value.is_string()) return value.is_null() ? 0 : 2;
  const std::string_view text = value.get_ref<const std::string&>();
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return 0;
  const auto last = text.find_last_not_of(" \t\r\n");
  return !sent.empty() && text.substr(first, last - first + 1) == sent ? 1 : 2;
}

JsonFields read_json_fields(std::string_view text, std::string_view sent) {
  std::string parsable = as_parsable(text);
  Builder builder(sent);
  // Not strict: what stands behind the first value is not read.
  json::sax_parse(parsable, &builder, json::input_format_t::json, false);
  wipe(parsable.data(), parsable.size());
  if (!builder.root.is_object()) return {};
  return {std::move(builder.root), builder.closed && builder.clean};
}

}  // namespace authdb::oauth
