#include <array>

#include "tools/commands/commands.h"

namespace authdb::cli {

std::span<const Command* const> all_commands() {
  static constexpr std::array kCommands{
      &kLogin,   &kMigrate, &kAdd,      &kProviders,                         // setup
      &kToken,   &kReport,  &kRefresh,  &kMint,      &kExport, &kKeepFresh,  // use
      &kStatus,  &kList,    &kLog,      &kSql,                               // look
      &kProfile, &kReset,   &kPriority, &kRemove,    &kLogout, &kUndo,       // manage
  };
  return kCommands;
}

}  // namespace authdb::cli
