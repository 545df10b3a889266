// A real TLS server for tests: nginx, with certificates of an authority of our own that openssl
// makes. Each certificate has a port.
#pragma once

#include <sys/types.h>

#include <array>
#include <filesystem>
#include <string>
#include <string_view>

namespace authdb::oauth {

enum class Certificate { good, expired, wrong_host, self_signed };

// The good one is for 127.0.0.1 and kTlsHost, which no name server knows: only a proxy leads there.
inline constexpr const char* kTlsHost = "login.acme.test";

class TlsServer {
 public:
  // Throws std::runtime_error if openssl or nginx are not there or do not work.
  explicit TlsServer(std::string refresh_token = kRefreshToken);
  ~TlsServer();
  TlsServer(const TlsServer&) = delete;
  TlsServer& operator=(const TlsServer&) = delete;

  int port(Certificate certificate) const {
    return ports_.at(static_cast<std::size_t>(certificate));
  }
  std::string url(Certificate certificate, std::string_view path = "/token") const;
  std::string ca_file() const { return directory_ / "ca.pem"; }
  // The same authority as OpenSSL looks for it in a directory.
  std::string ca_directory() const { return directory_ / "hashed"; }
  // Another authority, of which no server here has its certificate.
  std::string other_ca_file() const { return directory_ / "other.pem"; }
  // The answer to every POST: a grant with this refresh token, if no other was asked for.
  static constexpr const char* kRefreshToken = "rt-over-tls";

 private:
  void make_certificates() const;
  bool start();
  void stop();

  std::string refresh_token_;
  std::filesystem::path directory_;
  std::array<int, 4> ports_{};
  pid_t nginx_ = -1;
};

}  // namespace authdb::oauth
