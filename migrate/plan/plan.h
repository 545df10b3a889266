// The pure heart of migration: documents and what the store knows, to actions with reasons.
#pragma once

#include "migrate/migrate.h"
#include "migrate/plan/store_snapshot.h"

namespace authdb::migrate {

Result<Plan> plan_against(const std::vector<Document>& documents, const StoreSnapshot& known,
                          const MigrateOptions& options);

}  // namespace authdb::migrate
