#include "migrate/formats/json_text.h"

#include <algorithm>
#include <iterator>

namespace authdb::migrate {
namespace {

using nlohmann::json;

struct Progress {
  std::size_t read = 0;      // characters, the one that is wrong included
  bool wanted_more = false;  // the parser asked for a character behind the last one
};

// Feeds the parser and knows how far it got: its callbacks do not say where they are.
class Reading {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  Reading(const char* at, Progress& progress) : at_(at), progress_(&progress) {}
  reference operator*() const { return *at_; }
  Reading& operator++() {
    ++at_;
    ++progress_->read;
    return *this;
  }
  Reading operator++(int) {
    Reading before = *this;
    ++*this;
    return before;
  }
  bool operator==(const Reading& other) const {
    if (at_ == other.at_) progress_->wanted_more = true;
    return at_ == other.at_;
  }
  bool operator!=(const Reading& other) const { return !(*this == other); }

 private:
  const char* at_;
  Progress* progress_;
};

// Builds the tree and refuses what the library would let pass.
class Builder {
 public:
  explicit Builder(json& root) : root_(root) {}
  const std::string& problem() const { return problem_; }

  bool null() { return add(nullptr); }
  bool boolean(bool value) { return add(value); }
  bool number_integer(json::number_integer_t value) { return add(value); }
  bool number_unsigned(json::number_unsigned_t value) { return add(value); }
  bool number_float(json::number_float_t value, const json::string_t&) { return add(value); }
  bool string(json::string_t& value) { return add(std::move(value)); }
  bool binary(json::binary_t&) { return refuse("binary data"); }
  bool start_object(std::size_t) { return open(json::object()); }
  bool start_array(std::size_t) { return open(json::array()); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }
  bool key(json::string_t& name) {
    const auto [slot, fresh] = open_.back()->get_ref<json::object_t&>().emplace(name, nullptr);
    if (!fresh) return refuse("a key that this object already has");
    slot_ = &slot->second;
    return true;
  }
  // The library's message quotes what it read last, which may be a token: it is not passed on.
  bool parse_error(std::size_t, const std::string&, const json::exception&) {
    return refuse("not valid JSON");
  }

 private:
  bool refuse(const char* problem) {
    problem_ = problem;
    return false;
  }
  json* place(json&& value) {
    if (++values_ > kMaxValues) return nullptr;
    if (open_.empty()) return &(root_ = std::move(value));
    if (!open_.back()->is_array()) return &(*slot_ = std::move(value));
    open_.back()->push_back(std::move(value));
    return &open_.back()->back();
  }
  bool add(json value) { return place(std::move(value)) || refuse("more values than we accept"); }
  bool open(json value) {
    if (open_.size() == kMaxDepth) return refuse("nested too deeply");
    json* placed = place(std::move(value));
    if (!placed) return refuse("more values than we accept");
    open_.push_back(placed);  // stays valid: a parent grows only after its child is closed
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  json& root_;
  std::vector<json*> open_;
  json* slot_ = nullptr;
  std::size_t values_ = 0;
  std::string problem_;
};

// How many bytes the UTF-8 character at `at` takes; 0 if it is none (RFC 3629: shortest form, no
// surrogates, nothing above U+10FFFF).
std::size_t character_at(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U;
  };
  const auto follows = [&](std::size_t i, unsigned low = 0x80, unsigned high = 0xBF) {
    return byte(i) >= low && byte(i) <= high;
  };
  const unsigned lead = byte(at);
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF) return follows(at + 1) ? 2 : 0;
  if (lead >= 0xE0 && lead <= 0xEF) {
    const unsigned low = lead == 0xE0 ? 0xA0 : 0x80;
    const unsigned high = lead == 0xED ? 0x9F : 0xBF;
    return follows(at + 1, low, high) && follows(at + 2) ? 3 : 0;
  }
  if (lead >= 0xF0 && lead <= 0xF4) {
    const unsigned low = lead == 0xF0 ? 0x90 : 0x80;
    const unsigned high = lead == 0xF4 ? 0x8F : 0xBF;
    return follows(at + 1, low, high) && follows(at + 2) && follows(at + 3) ? 4 : 0;
  }
  return 0;
}

std::size_t first_invalid_utf8(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t size = character_at(text, at);
    if (size == 0) break;
    at += size;
  }
  return at;
}

tl::unexpected<Error> refuse_at(std::string_view text, std::size_t offset, const std::string& path,
                                const std::string& problem) {
  const std::string_view before = text.substr(0, std::min(offset, text.size()));
  const auto line_start = before.rfind('\n');
  const auto line = 1 + std::count(before.begin(), before.end(), '\n');
  const auto column =
      1 + std::count_if(line_start == std::string_view::npos ? before.begin()
                                                             : before.begin() + line_start + 1,
                        before.end(), [](char c) { return (c & 0xC0) != 0x80; });
  return fail(Errc::refused,
              path + ", line " + std::to_string(line) + ", column " + std::to_string(column) +
                  ": " + problem,
              "Nothing was taken from this file and it was left as it is; mend it there, or give "
              "an intact copy, and migrate again.");
}

}  // namespace

Result<json> parse_json(std::string_view text, const std::string& path) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  if (const auto bad = first_invalid_utf8(text); bad != text.size()) {
    return refuse_at(text, bad, path, "invalid UTF-8");
  }
  json tree;
  Builder builder(tree);
  Progress progress;
  const Reading first(text.data(), progress);
  const Reading last(text.data() + text.size(), progress);
  if (json::sax_parse(first, last, &builder)) return tree;

  wipe_strings(tree);
  if (progress.wanted_more) {
    return refuse_at(text, text.size(), path, "the text ends before the JSON does");
  }
  return refuse_at(text, progress.read - 1, path, builder.problem());
}

bool is_utf8(std::string_view text) { return first_invalid_utf8(text) == text.size(); }

// NOLINTNEXTLINE(bugprone-exception-escape): types are asked before they are used
void wipe_strings(json& tree) noexcept {
  if (tree.is_string()) {
    auto& text = tree.get_ref<std::string&>();
    wipe(text.data(), text.size());
  } else if (tree.is_structured()) {
    for (json& child : tree) wipe_strings(child);
  }
}

Secret seal_text(json&& tree) {
  if (tree.is_null() || (tree.is_object() && tree.empty())) return {};
  Secret text = Secret::take(tree.dump());
  wipe_strings(tree);
  return text;
}

json open_text(const Secret& text) {
  if (text.empty()) return json::object();
  return json::parse(text.reveal(), nullptr, /*allow_exceptions=*/false);
}

}  // namespace authdb::migrate
