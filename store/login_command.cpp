#include "store/login_command.h"

#include <algorithm>

#include "store/shell_word.h"

namespace authdb {
namespace {

constexpr std::string_view kDefaultProfile = "default";

// Nobody can type what a terminal does not show.
bool can_be_typed(std::string_view text) {
  return !text.empty() && std::none_of(text.begin(), text.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
  });
}

std::string option(std::string_view name, const std::string& value) {
  // A value with a dash in front would be taken for an option.
  return " " + std::string(name) + (value.starts_with('-') ? "=" : " ") + shell_quoted(value);
}

}  // namespace

std::string login_command(const std::string& provider, const std::string& label,
                          const std::vector<std::string>& profiles) {
  std::string command = "authdb login " + shell_quoted(provider);
  if (can_be_typed(label)) command += option("--label", label);
  const bool by_default =
      std::find(profiles.begin(), profiles.end(), kDefaultProfile) != profiles.end();
  if (!profiles.empty() && !by_default) command += option("--profile", profiles.front());
  return command;
}

}  // namespace authdb
