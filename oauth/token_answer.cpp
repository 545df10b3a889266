#include "oauth/token_answer.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "store/scrub.h"

namespace authdb::oauth {
namespace {

using nlohmann::json;

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

bool is_control(char c) { return static_cast<unsigned char>(c) < ' ' || c == 0x7f; }

// A number or literal that a JSON reader can hold.
bool holds(std::string_view word) {
  if (word == "true" || word == "false" || word == "null") return true;
  double value = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  return error == std::errc() && end == word.data() + word.size() && std::isfinite(value);
}

// The text with every bare word outside of strings that JSON cannot hold replaced by null.
std::string with_holdable_numbers(std::string_view text) {
  std::string out;
  out.reserve(text.size() * 2 + 8);  // so that it never moves and leaves a copy behind
  for (std::size_t i = 0; i < text.size();) {
    const char c = text[i];
    if (c == '"') {
      std::size_t end = i + 1;
      while (end < text.size() && text[end] != '"') end += text[end] == '\\' ? 2U : 1U;
      end = std::min(end + 1, text.size());
      out += text.substr(i, end - i);
      i = end;
      continue;
    }
    const auto end = std::min(text.find_first_of(" \t\r\n,:[]{}\"", i), text.size());
    if (end == i) {
      out += c;
      ++i;
      continue;
    }
    const std::string_view word = text.substr(i, end - i);
    out += holds(word) ? word : std::string_view("null");
    i = end;
  }
  return out;
}

// Keeps the top-level strings that come before the first mistake. Numbers may be cut without
// showing it, so they are not taken.
struct Salvage final : nlohmann::json_sax<json> {
  json found = json::object();
  std::string last_key;
  int depth = 0;

  bool string(std::string& value) override {
    if (depth == 1 && !last_key.empty()) found[last_key] = value;
    return true;
  }
  bool key(std::string& value) override {
    if (depth == 1) last_key = value;
    return true;
  }
  bool start_object(std::size_t) override { return ++depth, true; }
  bool end_object() override { return --depth, true; }
  bool start_array(std::size_t) override { return depth += depth == 0 ? 2 : 1, true; }
  bool end_array() override { return --depth, true; }
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool parse_error(std::size_t, const std::string&, const json::exception&) override {
    return false;
  }
};

void wipe_strings(json& value) {
  for (json& item : value) {
    if (item.is_string()) {
      auto& text = item.get_ref<std::string&>();
      wipe(text.data(), text.size());
    }
  }
}

}  // namespace

TokenAnswer::TokenAnswer(std::string_view body) : fields_(std::make_unique<json>()) {
  std::string text = with_holdable_numbers(body);
  *fields_ = json::parse(text, nullptr, /*allow_exceptions=*/false);
  whole_ = fields_->is_object();
  if (fields_->is_discarded()) {
    Salvage salvage;
    json::sax_parse(text, &salvage);
    *fields_ = std::move(salvage.found);
  } else if (!whole_) {
    *fields_ = json::object();
  }
  wipe(text.data(), text.size());
}

TokenAnswer::TokenAnswer(TokenAnswer&&) noexcept = default;
TokenAnswer& TokenAnswer::operator=(TokenAnswer&&) noexcept = default;

// NOLINTNEXTLINE(bugprone-exception-escape): types are asked before they are used
TokenAnswer::~TokenAnswer() {
  if (fields_) wipe_strings(*fields_);
}

std::string_view TokenAnswer::text(std::string_view key) const {
  const auto it = fields_->find(key);
  if (it == fields_->end() || !it->is_string()) return {};
  const std::string_view text = trimmed(it->get_ref<const std::string&>());
  return std::any_of(text.begin(), text.end(), is_control) ? std::string_view() : text;
}

std::string TokenAnswer::key_names() const {
  std::string names;
  for (const auto& item : fields_->items()) {  // an object's keys come sorted
    names += (names.empty() ? "" : ", ") + scrub(item.key(), {}, 40);
  }
  return names;
}

}  // namespace authdb::oauth
