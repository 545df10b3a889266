// Foreign credential files out: the bytes that another tool would read, made from the store.
//
// What came from such a file goes back as it was, every unknown field and every spelling included,
// as far as it is still true (docs/migration.md says what normalises). Without refresh tokens the
// document is a projection: the tool works with it as long as its access tokens live, and has
// nothing to spend.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "store/result.h"
#include "store/secret.h"
#include "store/store.h"

namespace authdb::migrate {

struct ExportRequest {
  std::string profile;
  std::string_view format = "hermes";  // a reader's name: formats/format.h
  // Makes the file a second spender. Every grant is locked and recovered before it is read, so that
  // what goes out is the live pair; the locks are free again when this returns.
  bool with_refresh_tokens = false;
  Milliseconds lock_wait{30'000};
};

// usage, naming those there are: no such format.
Result<void> check_format(std::string_view name);

// The file's bytes. usage: no such format. not_found: no such profile, or the profile has no login
// that such a file could hold. busy: a credential was in use until the deadline.
Result<Secret> export_document(const Store& store, const ExportRequest& request);

// Puts such a file at `path`: a new one, or in the place of one that holds no login which would be
// lost with it. refused, and nothing was changed: it has a refresh token that the store has never
// seen, or cannot be looked through, or cannot be replaced (files.h). try_later: it changed each
// time it was read.
Result<void> write_export(const Store& store, const std::filesystem::path& path,
                          const Secret& document);

}  // namespace authdb::migrate
