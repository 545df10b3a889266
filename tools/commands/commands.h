// One file per verb; command_table.cpp puts them in order.
#pragma once

#include "tools/command.h"

namespace authdb::cli {

extern const Command kAdd, kExport, kKeepFresh, kList, kLog, kLogin, kLogout, kMigrate, kMint,
    kPriority, kProfile, kProviders, kRefresh, kRemove, kReport, kReset, kSql, kStatus, kToken,
    kUndo;

}  // namespace authdb::cli
