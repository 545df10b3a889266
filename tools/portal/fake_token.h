// Tokens that nobody can mistake for real ones, and the name by which they may be shown.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace authdb::portal {

inline constexpr std::string_view kRefreshPrefix = "nrt_SIM_";
inline constexpr std::string_view kAccessPrefix = "nat_SIM_";
inline constexpr std::string_view kAgentKeyPrefix = "sk-nous-SIM-";

// `prefix` and 32 random hex digits: unique over all portals.
std::string fake_token(std::string_view prefix);

// Three segments that parse like a JWT; the signature begins with "SIM" and proves nothing.
std::string fake_jwt(const nlohmann::json& claims);

// "sha256:" and the first 16 hex digits of the SHA-256: the only way a token leaves the portal's
// counters and request log. Empty for an empty token.
std::string fingerprint(std::string_view token);

// RFC 7636: what a PKCE `code_challenge` (S256) must be for this verifier.
std::string pkce_challenge(std::string_view verifier);

}  // namespace authdb::portal
