#include "oauth/login_hint.h"

#include "oauth/login.h"
#include "store/login_command.h"
#include "store/shell_word.h"

namespace authdb::oauth {

bool can_log_in(const Provider& provider) {
  return has_logins(provider) && login_flow(provider, /*in_browser=*/false).has_value();
}

std::string login_hint(const BearerParts& parts, const Store& store, const Credential& row) {
  const std::string& provider = row.identity.provider;
  const Provider* known = parts.registry ? parts.registry().find(provider) : nullptr;
  if (known != nullptr && (!has_logins(*known) || row.identity.auth_type == AuthType::api_key)) {
    return "Store a new key: authdb add " + provider;
  }
  if (known == nullptr || !can_log_in(*known)) {
    return "Log in again with the tool that owns this login, then: authdb migrate. Or hand over a "
           "new grant: authdb add " +
           provider + " --grant";
  }
  const auto users = store.profiles_of(row.uid);
  const std::string tool = known->login_hint.empty() ? "" : " (" + known->login_hint + ")";
  return "Log in again: " +
         login_command(provider, row.identity.label, users ? *users : std::vector<std::string>()) +
         ". Or with the tool that owns this login" + tool + ", then: authdb migrate";
}

std::string way_to_log_in(const ProviderRegistry& registry, const std::string& provider,
                          const std::string& label, const std::vector<std::string>& profiles) {
  const Provider* known = registry.find(provider);
  if (known == nullptr || !can_log_in(*known)) {
    return "with the tool that owns it, then `authdb migrate`";
  }
  return "`" + login_command(provider, label, profiles) + "`";
}

std::string way_to_get_one(const Provider* provider, const std::string& id,
                           const std::string& profile) {
  if (provider != nullptr && can_log_in(*provider)) {
    return "`" + login_command(id, "", {profile}) + "` gets one";
  }
  return "`authdb add " + shell_quoted(id) +
         (provider != nullptr && has_logins(*provider) ? " --grant" : "") + "` adds one";
}

}  // namespace authdb::oauth
