#include "oauth/token_answer.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>

#include "oauth/answer_text.h"
#include "oauth/form.h"
#include "oauth/json_fields.h"
#include "store/scrub.h"

namespace authdb::oauth {
namespace {

using nlohmann::json;

constexpr std::string_view kBlanks = " \t\r\n";
// Some servers send the zero that ends their string along.
constexpr std::string_view kPadding(" \t\r\n\0", 5);

std::string_view trimmed(std::string_view text, std::string_view off = kBlanks) {
  const auto first = text.find_first_not_of(off);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(off) - first + 1);
}

bool is_control(char c) { return static_cast<unsigned char>(c) < ' ' || c == 0x7f; }

// A form has nothing to tell it by but its names: any line of text with a `=` in it could be one.
bool is_expected(std::string_view name) {
  static constexpr std::array<std::string_view, 4> kNames{"access_token", "refresh_token", "error",
                                                          "device_code"};
  return std::find(kNames.begin(), kNames.end(), name) != kNames.end();
}

bool is_form_char(char c) {
  return c > ' ' && c < 0x7f && std::string_view("\"<>\\^`{|}").find(c) == std::string_view::npos;
}

void wipe_text(std::string& text) { wipe(text.data(), text.size()); }

// Recurses no deeper than read_json_fields() lets anything lie.
void wipe_strings(json& value) {  // NOLINT(misc-no-recursion)
  if (value.is_string()) return wipe_text(value.get_ref<std::string&>());
  if (!value.is_structured()) return;
  for (json& item : value) wipe_strings(item);
}

// `complete`: also the last field, which nothing follows, is whole. What no form can hold breaks it
// off there.
JsonFields read_form_fields(std::string_view text, bool complete, std::string_view sent) {
  const auto end_of_form = std::find_if_not(text.begin(), text.end(), is_form_char);
  complete = complete && end_of_form == text.end();
  text = {text.begin(), end_of_form};
  JsonFields out;
  out.closed = complete;
  bool expected = false;
  while (!text.empty()) {
    const auto end = std::min(text.find('&'), text.size());
    const bool whole = end < text.size() || complete;
    const std::string_view pair = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (pair.empty() || !whole) continue;
    const auto equals = std::min(pair.find('='), pair.size());
    auto name = form_decoded(pair.substr(0, equals));
    auto value = form_decoded(pair.substr(std::min(equals + 1, pair.size())));
    if (!name || !value || equals == pair.size()) {
      out.closed = false;
      continue;
    }
    expected = expected || is_expected(*name);
    json& field = out.object[*name];
    if (news_in(*value, sent) >= news_in(field, sent)) field = *value;
    wipe_text(*value);
  }
  if (expected) return out;
  wipe_strings(out.object);
  return {};
}

void lift_data(json& fields, std::string_view sent) {
  const auto found = fields.find("data");
  if (found == fields.end() || !found->is_object()) return;
  json data = std::move(*found);
  fields.erase(found);
  for (auto& [key, value] : data.items()) {
    json& own = fields[key];
    if (news_in(own, sent) < news_in(value, sent)) own.swap(value);
  }
  wipe_strings(data);
}

}  // namespace

TokenAnswer::TokenAnswer(std::string_view body, bool complete, std::string_view sent)
    : fields_(std::make_unique<json>()) {
  const AnswerText unwrapped = unwrap_text(body, complete);
  const std::string_view text = trimmed(unwrapped.text.reveal(), kPadding);
  JsonFields read = text.starts_with('{') ? read_json_fields(text, sent)
                                          : read_form_fields(text, unwrapped.whole, sent);
  *fields_ = std::move(read.object);
  whole_ = read.closed && unwrapped.whole;
  blank_ = text.empty() && unwrapped.whole;
  lift_data(*fields_, sent);
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
  const bool replaced = text.find(kReplacement) != std::string_view::npos;
  return replaced || std::any_of(text.begin(), text.end(), is_control) ? std::string_view() : text;
}

bool TokenAnswer::is_unusable(std::string_view key) const {
  const auto it = fields_->find(key);
  if (it == fields_->end() || it->is_null()) return false;
  if (!it->is_string()) return true;
  return text(key).empty() && !trimmed(it->get_ref<const std::string&>()).empty();
}

std::string TokenAnswer::key_names() const {
  std::string names;
  for (const auto& item : fields_->items()) {  // an object's keys come sorted
    names += (names.empty() ? "" : ", ") + scrub(item.key(), {}, 40);
  }
  return names;
}

bool shows_its_end(std::string_view body) {
  const AnswerText unwrapped = unwrap_text(body, /*complete=*/true);
  if (unwrapped.compressed) return unwrapped.whole;
  const std::string_view text = trimmed(unwrapped.text.reveal(), kPadding);
  return text.starts_with('{') && TokenAnswer(body).is_whole();
}

}  // namespace authdb::oauth
