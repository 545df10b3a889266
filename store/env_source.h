// An API key that is kept in a variable of the environment: how a credential says so. Pure
// functions, thread-safe.
#pragma once

#include <optional>
#include <string_view>

namespace authdb {

// What a credential's sealed extra says of such a key. Stored: never rename.
//
// The fingerprint of the key that was imported, as its file had it.
inline constexpr const char* kSecretFingerprint = "secret_fingerprint";
// The variable that the user allowed, whatever it holds (`migrate --allow-env`). Ours alone: what a
// file has under this name never gets there.
inline constexpr const char* kAllowedVariable = "authdb_allow_env";

// VARIABLE of a source `env:VARIABLE`; nullopt if the source is another. As a file spelled it, so
// it may be no name at all.
std::optional<std::string_view> variable_of(std::string_view source);

// True for a name that a shell takes: letters, digits and `_`, no digit first.
bool is_variable_name(std::string_view name);

// True for a name that may hold a key: authdb's own variables (`AUTHDB_...`) hold none.
bool may_hold_key(std::string_view variable);

}  // namespace authdb
