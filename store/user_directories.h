// Where this user's files are, as the XDG Base Directory specification has it: a variable that is
// empty or no absolute path counts as not set. So no file of ours is looked for, or made, wherever
// a process happens to stand.
#pragma once

#include <filesystem>

namespace authdb {

// $HOME, else what the password database says. Empty: this user has none.
std::filesystem::path home_directory();

// $XDG_DATA_HOME, else ~/.local/share; $XDG_CONFIG_HOME, else ~/.config. Empty: there is no home.
std::filesystem::path data_directory();
std::filesystem::path config_directory();

}  // namespace authdb
