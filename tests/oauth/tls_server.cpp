#include "tls_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <stdexcept>
#include <vector>

#include "store/secret.h"

namespace authdb::oauth {
namespace {

namespace fs = std::filesystem;

constexpr std::array kNames{"good", "expired", "wrong_host", "self_signed"};

sockaddr_in loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  return address;
}

// Free now. Somebody may be faster: then nginx does not start, and others are tried.
int free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = loopback(0);
  socklen_t size = sizeof address;
  auto* raw = reinterpret_cast<sockaddr*>(&address);
  const bool bound = ::bind(fd, raw, size) == 0 && ::getsockname(fd, raw, &size) == 0;
  ::close(fd);
  return bound ? ntohs(address.sin_port) : 0;
}

bool accepts(int port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = loopback(port);
  const bool open = ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  ::close(fd);
  return open;
}

pid_t spawn(const std::vector<std::string>& words, const fs::path& log) {
  std::vector<char*> argv;
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    ::dup2(out, STDOUT_FILENO);
    ::dup2(out, STDERR_FILENO);
    ::execvp(argv[0], argv.data());
    ::_exit(127);
  }
  return pid;
}

std::string contents(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

void openssl(const fs::path& directory, const std::string& words) {
  std::vector<std::string> command{"openssl"};
  std::istringstream stream(words);
  for (std::string word; stream >> word;) command.push_back(word);
  int status = 0;
  ::waitpid(spawn(command, directory / "openssl.log"), &status, 0);
  if (status != 0) {
    throw std::runtime_error("openssl " + words + "\n" + contents(directory / "openssl.log"));
  }
}

}  // namespace

TlsServer::TlsServer(std::string refresh_token) : refresh_token_(std::move(refresh_token)) {
  std::string name = (fs::temp_directory_path() / "authdb-tls-XXXXXX").string();
  directory_ = ::mkdtemp(name.data());
  make_certificates();
  for (int tries = 0; tries < 5; ++tries) {
    if (!start()) continue;
    wipe(refresh_token_.data(), refresh_token_.size());  // nginx alone knows it from here on
    return;
  }
  const std::string log = contents(directory_ / "nginx.log");
  fs::remove_all(directory_);
  throw std::runtime_error("nginx does not start (is it installed?)\n" + log);
}

TlsServer::~TlsServer() {
  stop();
  std::error_code ignored;
  fs::remove_all(directory_, ignored);
}

std::string TlsServer::url(Certificate certificate, std::string_view path) const {
  return "https://127.0.0.1:" + std::to_string(port(certificate)) + std::string(path);
}

void TlsServer::make_certificates() const {
  const std::string base = directory_.string() + "/";
  const std::string key =
      " -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout " + base;
  openssl(directory_, "req -x509 -days 30 -subj /CN=authdb-test-authority -out " + base + "ca.pem" +
                          key + "ca.key");
  openssl(directory_, "req -x509 -days 30 -subj /CN=authdb-other-authority -out " + base +
                          "other.pem" + key + "other.key");
  fs::create_directory(directory_ / "hashed");
  fs::copy_file(directory_ / "ca.pem", directory_ / "hashed" / "ca.pem");
  openssl(directory_, "rehash " + base + "hashed");
  const auto make = [&](const std::string& name, const std::string& names,
                        const std::string& days) {
    std::ofstream(directory_ / (name + ".ext")) << "subjectAltName=" << names << "\n";
    openssl(directory_,
            "req -subj /CN=" + name + " -out " + base + name + ".csr" + key + name + ".key");
    openssl(directory_, "x509 -req -CA " + base + "ca.pem -CAkey " + base +
                            "ca.key -CAcreateserial -days " + days + " -in " + base + name +
                            ".csr -extfile " + base + name + ".ext -out " + base + name + ".pem");
  };
  const std::string ours = std::string("IP:127.0.0.1,DNS:") + kTlsHost;
  make("good", ours, "30");
  make("expired", ours, "-1");
  make("wrong_host", "DNS:other.acme.test", "30");
  openssl(directory_, "req -x509 -days 30 -subj /CN=127.0.0.1 -addext subjectAltName=" + ours +
                          " -out " + base + "self_signed.pem" + key + "self_signed.key");
}

bool TlsServer::start() {
  std::ofstream config(directory_ / "nginx.conf");
  config << "daemon off; master_process off; pid nginx.pid; error_log stderr;\n"
         << "events { worker_connections 64; }\nhttp { access_log off; default_type "
            "application/json;\n";
  for (const char* kind : {"client_body", "proxy", "fastcgi", "uwsgi", "scgi"}) {
    config << kind << "_temp_path " << kind << ";\n";
  }
  for (std::size_t i = 0; i < ports_.size(); ++i) {
    ports_[i] = free_port();
    config
        << "server { listen 127.0.0.1:" << ports_[i] << " ssl;\n"
        << "ssl_certificate " << kNames[i] << ".pem; ssl_certificate_key " << kNames[i]
        << ".key;\nlocation / { return 200 '{\"access_token\":\"at-over-tls\",\"refresh_token\":\""
        << refresh_token_ << "\",\"expires_in\":3600}'; } }\n";
  }
  config << "}\n";
  config.close();

  const std::string here = directory_.string();
  const char* path = ::getenv("PATH");
  ::setenv("PATH", (std::string(path == nullptr ? "" : path) + ":/usr/sbin").c_str(), 1);
  nginx_ = spawn({"nginx", "-p", here, "-e", "stderr", "-c", here + "/nginx.conf"},
                 directory_ / "nginx.log");
  while (::waitpid(nginx_, nullptr, WNOHANG) == 0) {
    if (accepts(ports_.back())) return true;
    ::usleep(10'000);
  }
  nginx_ = -1;  // ended by itself
  return false;
}

void TlsServer::stop() {
  if (nginx_ <= 0) return;
  ::kill(nginx_, SIGKILL);
  ::waitpid(nginx_, nullptr, 0);
}

}  // namespace authdb::oauth
