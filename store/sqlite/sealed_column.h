// Where sealed cells stand: the one list that the authorizer, key rotation and key pruning go by.
#pragma once

#include <string_view>

#include "store/backend.h"

namespace authdb::sqlite {

struct SealedColumnSql {
  std::string_view table;
  std::string_view column;
  const char* select;  // (not this key, behind this row, limit) -> row, owner, generation, cell
  const char* update;  // (row, cell)
  const char* count;   // -> key, cells
};

const SealedColumnSql& sql_of(SealedColumn column);

// The columns that the authorizer lets nobody read.
bool is_sealed_column(std::string_view table, std::string_view column);

}  // namespace authdb::sqlite
