// How a portal behaves; the command line of authdb-portal sets the same values.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace authdb::portal {

enum class Era {
  kAgentKey,  // opaque access tokens mint agent keys; only agent keys may infer
  kJwt,       // access tokens are JWTs and infer themselves; nothing is minted
  kBoth,      // JWT access tokens, which may also mint; either bearer may infer
};

enum class RefreshIn { kBody, kHeader, kEither };  // header: x-nous-refresh-token

struct Options {
  std::string listen = "127.0.0.1";  // loopback only: 127.0.0.0/8, ::1 or localhost
  std::uint16_t port = 0;            // 0: the kernel chooses

  Era era = Era::kAgentKey;
  RefreshIn refresh_in = RefreshIn::kEither;  // of the Nous token endpoint
  std::string client_secret{};                // when set, every token request must prove to know it
  std::chrono::seconds access_ttl{900};
  std::chrono::seconds agent_key_ttl{86400};
  std::chrono::seconds reuse_grace{0};  // 0: strictly single use

  std::chrono::seconds device_ttl{900};
  std::chrono::seconds device_interval{1};  // told to the client; polling faster is not punished
  bool auto_approve_device = false;

  std::optional<std::int64_t> clock_ms{};  // where the clock starts; default: the system's time
};

}  // namespace authdb::portal
