// A grant and whose it is, in one piece, to be sealed into a journal: enough to put the newest
// tokens back beside an older database. Stored: append fields, never change their order. Pure
// functions, thread-safe.
#pragma once

#include <optional>

#include "store/credential.h"
#include "store/secret.h"

namespace authdb {

struct Parcel {
  Identity identity;
  Grant grant;
};

Secret pack(const Identity& identity, const Grant& grant);
// nullopt if the bytes are not a whole parcel.
std::optional<Parcel> unpack(const Secret& bytes);

}  // namespace authdb
