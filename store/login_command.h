// The command that renews a login. Every hint that names it has it from here. Pure.
#pragma once

#include <string>
#include <vector>

namespace authdb {

// `authdb login nous --label work --profile atlas`. The label says which credential is renewed: of
// a login whose account nobody knows, another would be made beside it. `profiles` are those that
// use it; `--profile` is left out where the default one does, or nobody.
std::string login_command(const std::string& provider, const std::string& label,
                          const std::vector<std::string>& profiles);

}  // namespace authdb
