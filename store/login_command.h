// The command that renews a login. Every hint that names it has it from here. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace authdb {

// As one word for a shell; in quotes only where it needs them.
std::string shell_quoted(std::string_view text);

// `authdb login nous --label work --profile atlas`. The label says which credential is renewed: of
// a login whose account nobody knows, another would be made beside it. `profiles` are those that
// use it; `--profile` is left out where the default one does, or nobody.
std::string login_command(const std::string& provider, const std::string& label,
                          const std::vector<std::string>& profiles);

}  // namespace authdb
