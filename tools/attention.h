// What of the credentials needs a person: what `status` warns of and `doctor` finds.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "migrate/migrate.h"
#include "oauth/provider.h"
#include "store/doctor.h"
#include "store/store.h"
#include "tools/command.h"
#include "tools/render/freshness.h"

namespace authdb::cli {

// What a renewal here would go by.
struct Providers {
  Registry registry;
  oauth::Environment environment;
  bool needs_module = true;  // requests go through libcurl
};
inline Providers providers_of(Context& context) {
  return {[&context]() -> const oauth::ProviderRegistry& { return context.registry(); },
          context.env, !context.http};
}

// Logins that are needed, sessions that end soon, grants that are held, bearers that do not work
// and are not replaced, or whose age nobody knows, and second spenders. `rows` are of the view
// `freshness`.
std::vector<Finding> attention(const Store& store, const QueryRows& rows, Instant now,
                               const Providers& providers, const migrate::ProviderRules& rules);

// Why a credential has no bearer that works and does not get one, or will not get its next one.
class Outages {
 public:
  // Of so many rows. Where they are many, the journals of those whose bearer lives are left to
  // `doctor`, and of what stands in the way of their renewal only their provider is looked at.
  Outages(const Store& store, const Providers& providers, std::size_t rows, Instant now)
      : store_(store), providers_(providers), few_(rows <= kFew), now_(now) {}
  // Empty: it has a bearer, or would get one when somebody asks. One that needs a login or was
  // handed over is not meant.
  std::string of(const NamedRow& row) const;
  // True if each one's journal is looked at.
  bool few() const { return few_; }
  // What keeps every login of that provider from being renewed.
  std::optional<Error> obstacle(const std::string& provider) const;

 private:
  static constexpr std::size_t kFew = 1000;
  std::optional<Error> obstacle(const NamedRow& row, bool over) const;
  const std::optional<Error>& no_way_out() const;
  std::optional<Error> distrust(const Identity& identity) const;
  std::optional<Identity> identity_of(const Uid& uid) const;
  const Store& store_;
  const Providers& providers_;
  bool few_;
  Instant now_;
  // What is the same for many is looked at once.
  mutable std::optional<std::optional<Error>> no_way_out_;
  mutable std::map<std::string, std::optional<Error>> ca_files_;
  mutable std::optional<std::map<Uid, Identity>> identities_;
};

}  // namespace authdb::cli
