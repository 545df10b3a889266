// What happens to a store's files behind its back, and to the machine it is on.
#pragma once

#include "tests/model/actions.h"
#include "tests/model/world.h"

namespace authdb::model {

std::filesystem::path backup_file(World& world);

// Saving and putting back files, damage, the clock, a reboot, the provider's file, the outsider.
// What the store can know afterwards goes into the books here.
Outcome change_files(World& world, const Step& step, const Prepared& prepared);

// auth.db is gone: before a restore.
void lose_db(World& world);

// Which version of each login a copy of the table has now.
Copy table_copy(World& world, const std::filesystem::path& file);

}  // namespace authdb::model
