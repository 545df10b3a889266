// What of the credentials needs a person: what `status` warns of and `doctor` finds.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "migrate/migrate.h"
#include "oauth/provider.h"
#include "store/doctor.h"
#include "store/store.h"
#include "tools/command.h"
#include "tools/render/freshness.h"

namespace authdb::cli {

// Read only when it is needed: its files take time.
using Registry = std::function<const oauth::ProviderRegistry&()>;
inline Registry providers_of(Context& context) {
  return [&context]() -> const oauth::ProviderRegistry& { return context.registry(); };
}

// Logins that are needed, sessions that end soon, grants that are held, bearers that do not work
// and are not replaced, and second spenders. `rows` are of the view `freshness`.
std::vector<Finding> attention(const Store& store, const QueryRows& rows, Instant now,
                               const Registry& registry, const migrate::UsableAddress& usable);

// Why a credential has no bearer that works and does not get one, or will not get its next one.
class Outages {
 public:
  // Of so many rows. Where they are many, the journals of those whose bearer lives are left to
  // `doctor`.
  Outages(const Store& store, const Registry& registry, std::size_t rows)
      : store_(store), registry_(registry), few_(rows <= kFew) {}
  // Empty: it has a bearer, or would get one when somebody asks. One that needs a login or was
  // handed over is not meant.
  std::string of(const NamedRow& row) const;

 private:
  static constexpr std::size_t kFew = 1000;
  const Store& store_;
  const Registry& registry_;
  bool few_;
};

}  // namespace authdb::cli
