// The pure heart of migration: documents and what the store knows, to actions with reasons.
#pragma once

#include "migrate/known.h"
#include "migrate/migrate.h"

namespace authdb::migrate {

Result<Plan> plan_against(const std::vector<Document>& documents, const Known& known,
                          const MigrateOptions& options);

}  // namespace authdb::migrate
