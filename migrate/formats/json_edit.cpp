#include "migrate/formats/json_edit.h"

#include <string>
#include <vector>

#include "migrate/formats/json_text.h"

namespace authdb::migrate {
namespace {

using nlohmann::json;

// One member of an object or item of an array, as its text has it.
struct Part {
  std::string_view lead;   // the space before it
  std::string_view key;    // with its quotes; empty: an item
  std::string_view colon;  // and the space around it
  std::string_view value;
  std::string_view tail;  // the space behind it
};

struct Parts {
  std::vector<Part> parts;
  std::string_view inside;  // the space of one that has none
};

// Walks over text that is known to be JSON.
class Walk {
 public:
  explicit Walk(std::string_view text) : text_(text) {}

  std::string_view rest() const { return text_.substr(at_); }
  std::string_view space() {
    const auto from = at_;
    at_ = std::min(text_.find_first_not_of(" \t\r\n", at_), text_.size());
    return since(from);
  }
  std::string_view value() {
    const auto from = at_;
    if (text_[at_] == '"') {
      string();
    } else if (text_[at_] == '{' || text_[at_] == '[') {
      nest();
    } else {
      at_ = std::min(text_.find_first_of(",]} \t\r\n", at_), text_.size());
    }
    return since(from);
  }
  // Of an object or array, which is all of the text.
  Parts parts() {
    Parts found;
    const bool keys = text_[at_++] == '{';
    Part part{.lead = space(), .key = {}, .colon = {}, .value = {}, .tail = {}};
    if (is_closing()) {
      found.inside = part.lead;
      return found;
    }
    for (;; part.lead = space()) {
      if (keys) {
        part.key = value();
        part.colon = colon();
      }
      part.value = value();
      part.tail = space();
      found.parts.push_back(part);
      if (is_closing()) return found;
      ++at_;
    }
  }

 private:
  std::string_view since(std::size_t from) const { return text_.substr(from, at_ - from); }
  bool is_closing() const { return text_[at_] == '}' || text_[at_] == ']'; }
  std::string_view colon() {
    const auto from = at_;
    space();
    ++at_;
    space();
    return since(from);
  }
  void string() {
    for (++at_; text_[at_] != '"'; ++at_) {
      if (text_[at_] == '\\') ++at_;
    }
    ++at_;
  }
  void nest() {
    int depth = 0;
    do {
      if (text_[at_] == '"') {
        string();
        continue;
      }
      depth += text_[at_] == '{' || text_[at_] == '[' ? 1 : 0;
      depth -= is_closing() ? 1 : 0;
      ++at_;
    } while (depth > 0);
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

void append(std::string& out, std::initializer_list<std::string_view> texts) {
  for (const auto text : texts) out += text;
}

std::string edited(std::string_view text, const json& before, const json& after);

std::string edited_object(std::string_view text, const json& before, const json& after) {
  const Parts parts = Walk(text).parts();
  Part like{.lead = parts.inside, .key = {}, .colon = ": ", .value = {}, .tail = {}};
  if (!parts.parts.empty()) like = parts.parts.front();
  std::string_view end = parts.parts.empty() ? parts.inside : parts.parts.back().tail;
  std::string out = "{";
  for (const Part& part : parts.parts) {
    const auto name = json::parse(part.key).get<std::string>();
    const auto kept = after.find(name);
    if (kept == after.end()) continue;
    const bool last = &part == &parts.parts.back();
    append(out, {out.size() > 1 ? "," : "", part.lead, part.key, part.colon,
                 edited(part.value, before.at(name), *kept), last ? "" : part.tail});
  }
  for (const auto& [name, value] : after.items()) {
    if (before.contains(name)) continue;
    append(out,
           {out.size() > 1 ? "," : "", like.lead, json(name).dump(), like.colon, value.dump()});
  }
  append(out, {end, "}"});
  return out;
}

std::string edited_array(std::string_view text, const json& before, const json& after) {
  std::string out = "[";
  std::size_t i = 0;
  for (const Part& part : Walk(text).parts().parts) {
    append(out, {i > 0 ? "," : "", part.lead, edited(part.value, before[i], after[i]), part.tail});
    ++i;
  }
  return out + "]";
}

std::string edited(std::string_view text, const json& before, const json& after) {
  if (before == after && before.type() == after.type()) return std::string(text);
  if (before.is_object() && after.is_object()) return edited_object(text, before, after);
  if (before.is_array() && after.is_array() && before.size() == after.size()) {
    return edited_array(text, before, after);
  }
  return after.dump();
}

}  // namespace

Secret edited_text(std::string_view text, json&& after) {
  std::string_view body = text;
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  if (body.starts_with(kByteOrderMark)) body.remove_prefix(kByteOrderMark.size());
  Walk walk(body);
  walk.space();
  const std::string_view root = walk.value();
  json before = json::parse(root);
  std::string out(text.substr(0, static_cast<std::size_t>(root.data() - text.data())));
  out += edited(root, before, after);
  out += walk.rest();
  wipe_strings(before);
  wipe_strings(after);
  return Secret::take(std::move(out));
}

}  // namespace authdb::migrate
