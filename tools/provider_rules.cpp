#include "tools/provider_rules.h"

#include "oauth/endpoints.h"

namespace authdb::cli {

migrate::ProviderRules provider_rules(Context& context) {
  migrate::ProviderRules rules;
  rules.usable = [&context](const std::string& provider,
                            const std::string& url) -> Result<std::string> {
    const oauth::Provider* known = context.registry().find(provider);
    if (known == nullptr) return url;
    return oauth::usable_base_url(*known, url, context.env);
  };
  rules.renews = [&context](const std::string& provider) {
    return context.registry().find_oauth(provider) != nullptr;
  };
  return rules;
}

}  // namespace authdb::cli
