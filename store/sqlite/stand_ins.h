// What a database of an older minor schema lacks, as temporary objects of one connection: SQL that
// reads may name every table and column of the newest step, whatever it looks at.
//
// The temporary schema's names come before the database's own, and its objects are in memory: they
// need no space and change no file. They are for reading alone; who writes brings the schema up
// first.
#pragma once

#include "store/sqlite/connection.h"

namespace authdb::sqlite {

// Which minor step the database has reached.
std::int64_t schema_minor(Connection& connection);

// Makes what the steps after `minor` would have added. Both throw SQLite::Exception.
void stand_in_for_steps_after(std::int64_t minor, Connection& connection);

}  // namespace authdb::sqlite
