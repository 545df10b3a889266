#include "tests/model/step.h"

#include <algorithm>
#include <sstream>

namespace authdb::model {
namespace {

constexpr std::array<std::string_view, kVerbs> kVerbNames{"bearer",
                                                          "refresh",
                                                          "mint",
                                                          "report",
                                                          "login",
                                                          "import_stale",
                                                          "import_newer",
                                                          "remove",
                                                          "undo",
                                                          "hand_over",
                                                          "take_back",
                                                          "inspect",
                                                          "look",
                                                          "backup",
                                                          "restore",
                                                          "save_db",
                                                          "put_back_db",
                                                          "save_journal",
                                                          "put_back_journal",
                                                          "delete_journal",
                                                          "damage_journal",
                                                          "repair",
                                                          "key_rotate",
                                                          "key_prune",
                                                          "provider_gone",
                                                          "provider_back",
                                                          "outsider_on",
                                                          "outsider_off",
                                                          "advance",
                                                          "jump",
                                                          "reboot"};
constexpr std::array<std::string_view, kReplies> kReplyNames{
    "ok",           "keep",     "same",         "cut",
    "broken",       "lost",     "unprocessed",  "refused_connection",
    "late",         "twice",    "rate_limited", "unavailable",
    "server_error", "page",     "refusal",      "refusal_200",
    "unreadable",   "stranger", "elsewhere",    "retired"};
constexpr std::array<std::string_view, kClothes> kClothesNames{
    "plain", "bom", "prefix", "trailing", "data", "form", "gzip"};
constexpr std::array<std::string_view, kTwists> kTwistNames{
    "none", "crash", "fault", "outsider", "in_send", "in_clock", "waiter"};

template <typename Enum, std::size_t N>
std::optional<Enum> named(const std::array<std::string_view, N>& names, std::string_view word) {
  const auto it = std::find(names.begin(), names.end(), word);
  if (it == names.end()) return std::nullopt;
  return static_cast<Enum>(it - names.begin());
}

// The fields of a step that are numbers.
struct Number {
  std::string_view name;
  int Step::*field;
};
constexpr std::array<Number, 9> kNumbers{{{"who", &Step::who},
                                          {"arg", &Step::arg},
                                          {"seed", &Step::seed},
                                          {"big", &Step::big},
                                          {"mint", &Step::mint},
                                          {"at", &Step::at},
                                          {"how", &Step::how},
                                          {"inner_who", &Step::inner_who},
                                          {"inner_arg", &Step::inner_arg}}};

template <typename Enum>
bool put(Enum& into, std::optional<Enum> value) {
  if (value) into = *value;
  return value.has_value();
}

bool set_field(Step& step, std::string_view name, const std::string& value) {
  if (name == "reply") return put(step.reply, named<Reply>(kReplyNames, value));
  if (name == "inner_reply") return put(step.inner_reply, named<Reply>(kReplyNames, value));
  if (name == "clothes") return put(step.clothes, named<Clothes>(kClothesNames, value));
  if (name == "twist") return put(step.twist, named<Twist>(kTwistNames, value));
  if (name == "inner") return put(step.inner, named<Verb>(kVerbNames, value));
  for (const Number& number : kNumbers) {
    if (number.name != name) continue;
    step.*number.field = std::atoi(value.c_str());
    return true;
  }
  return false;
}

}  // namespace

std::string_view name_of(Verb verb) { return kVerbNames.at(static_cast<std::size_t>(verb)); }
std::string_view name_of(Reply reply) { return kReplyNames.at(static_cast<std::size_t>(reply)); }
std::string_view name_of(Twist twist) { return kTwistNames.at(static_cast<std::size_t>(twist)); }
std::string_view name_of(Clothes clothes) {
  return kClothesNames.at(static_cast<std::size_t>(clothes));
}

std::string text_of(const Step& step) {
  std::ostringstream out;
  out << name_of(step.verb);
  const auto add = [&](std::string_view name, const auto& value) {
    out << ' ' << name << '=' << value;
  };
  if (step.reply != Reply::ok) add("reply", name_of(step.reply));
  if (step.clothes != Clothes::plain) add("clothes", name_of(step.clothes));
  if (step.twist != Twist::none) add("twist", name_of(step.twist));
  if (step.twist >= Twist::in_send) {
    add("inner", name_of(step.inner));
    if (step.inner_reply != Reply::ok) add("inner_reply", name_of(step.inner_reply));
  }
  for (const Number& number : kNumbers) {
    if (step.*number.field != 0) add(number.name, step.*number.field);
  }
  return out.str();
}

std::optional<Step> step_of(std::string_view line) {
  std::istringstream in{std::string(line)};
  std::string word;
  in >> word;
  Step step;
  if (!put(step.verb, named<Verb>(kVerbNames, word))) return std::nullopt;
  while (in >> word) {
    const auto equals = word.find('=');
    if (equals == std::string::npos) return std::nullopt;
    if (!set_field(step, word.substr(0, equals), word.substr(equals + 1))) return std::nullopt;
  }
  return step;
}

std::optional<History> history_of(std::string_view text) {
  std::string lines(text);
  std::replace(lines.begin(), lines.end(), ';', '\n');
  std::istringstream in(lines);
  History history;
  for (std::string line; std::getline(in, line);) {
    line = line.substr(0, line.find('#'));
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const auto step = step_of(line);
    if (!step) return std::nullopt;
    history.push_back(*step);
  }
  return history;
}

}  // namespace authdb::model
