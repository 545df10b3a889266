#include "tools/addresses.h"

#include "oauth/endpoints.h"

namespace authdb::cli {

migrate::UsableAddress usable_addresses(Context& context) {
  return [&context](const std::string& provider, const std::string& url) -> Result<std::string> {
    const oauth::Provider* known = context.registry().find(provider);
    if (known == nullptr) return url;
    return oauth::usable_base_url(*known, url, context.env);
  };
}

}  // namespace authdb::cli
