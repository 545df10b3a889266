// Foreign credential files out: the bytes that another tool would read, made from the store.
//
// What came from such a file goes back as it was, every unknown field and every spelling included,
// as far as it is still true (docs/migration.md says what normalises). Without refresh tokens the
// document is a projection: the tool works with it as long as its access tokens live, and has
// nothing to spend.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "store/result.h"
#include "store/secret.h"
#include "store/store.h"

namespace authdb::migrate {

// One for each file that is read, by the same name as its reader.
enum class Format {
  hermes,              // auth.json
  hermes_anthropic,    // .anthropic_oauth.json
  hermes_shared_nous,  // shared/nous_auth.json
  claude,              // .credentials.json
  codex,               // auth.json
  qwen,                // oauth_creds.json
  opencode,            // auth.json
};

std::optional<Format> format_named(std::string_view name);
std::string_view name_of(Format format);

struct ExportRequest {
  std::string profile;
  Format format = Format::hermes;
  // Makes the file a second spender. Every grant is locked and recovered before it is read, so that
  // what goes out is the live pair; the locks are free again when this returns.
  bool with_refresh_tokens = false;
  Milliseconds lock_wait{30'000};
};

// The file's bytes. not_found: no such profile, or the profile has no login that such a file could
// hold. busy: a credential was in use until the deadline.
Result<Secret> export_document(const Store& store, const ExportRequest& request);

// Puts such a file at `path`: a new one, or in the place of one that holds no login which would be
// lost with it. refused, and nothing was changed: it has a refresh token that the store has never
// seen, or cannot be looked through, or cannot be replaced (files.h). try_later: it changed each
// time it was read.
Result<void> write_export(const Store& store, const std::filesystem::path& path,
                          const Secret& document);

}  // namespace authdb::migrate
