#include "tools/prove/stage.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>
#include <system_error>

#include "store/store.h"

namespace authdb::prove {
namespace {

namespace fs = std::filesystem;

constexpr const char* kLongAgo = "2026-01-01T00:00:00Z";

// The first bytes of what the portal answers to one GET. Written out, so that the judge shares no
// HTTP code with the accused.
std::string status_line(std::uint16_t port, const std::string& request) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  std::array<char, 64> answer{};
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
      ::send(fd, request.data(), request.size(), MSG_NOSIGNAL) ==
          static_cast<ssize_t>(request.size())) {
    (void)::recv(fd, answer.data(), answer.size() - 1, MSG_WAITALL);
  }
  ::close(fd);
  return answer.data();
}

}  // namespace

Scratch::Scratch(const fs::path& parent) {
  fs::create_directories(parent);
  std::string name = fs::canonical(parent) / "authdb-prove.XXXXXX";
  if (::mkdtemp(name.data()) == nullptr) {
    throw fs::filesystem_error("cannot make a scratch directory", parent,
                               std::error_code(errno, std::generic_category()));
  }
  path_ = name;
}

Scratch::~Scratch() {
  std::error_code ignored;
  if (!kept_) fs::remove_all(path_, ignored);
}

void copy_home(const Home& from, const Home& to) {
  fs::remove_all(to.directory);
  fs::copy(from.directory, to.directory, fs::copy_options::recursive);
}

Stage::Stage(fs::path authdb, fs::path directory, const portal::Options& options)
    : authdb_(std::move(authdb)), directory_(std::move(directory)), portal_(options) {
  fs::create_directories(directory_);
}

Home Stage::home(const std::string& name) const {
  Home home{directory_ / name};
  fs::create_directories(home.directory);
  return home;
}

Command Stage::command(const Home& home, std::vector<std::string> words, std::string input) const {
  words.insert(words.begin(), authdb_.string());
  const std::string url = portal_.base_url();
  const std::string directory = home.directory.string();
  std::vector<std::string> env = {
      "PATH=/usr/local/bin:/usr/bin:/bin",
      "HOME=" + directory,
      "HERMES_HOME=" + directory + "/hermes",
      "XDG_CONFIG_HOME=" + directory + "/config",
      "XDG_RUNTIME_DIR=" + directory + "/run",
      "AUTHDB_STORE=" + home.store().string(),
      "AUTHDB_KEY_FILE=" + home.key().string(),
      "AUTHDB_ALLOW_FILESYSTEM=1",  // whether it works here is the question
      "HERMES_PORTAL_BASE_URL=" + url,
      "NOUS_INFERENCE_BASE_URL=" + url + "/v1"};
  return {std::move(words), std::move(env), std::move(input)};
}

Finished Stage::authdb(const Home& home, std::vector<std::string> words, std::string input) const {
  return run(command(home, std::move(words), std::move(input)));
}

Finished Stage::must(const Home& home, std::vector<std::string> words, std::string input) const {
  const std::string name = words.front();
  Finished finished = authdb(home, std::move(words), std::move(input));
  if (finished.code != 0) {
    throw std::runtime_error("authdb " + name + " ended with " + std::to_string(finished.code) +
                             ": " + finished.err);
  }
  return finished;
}

bool Stage::portal_is_idle() {
  return portal_.wait_until([this] { return portal_.in_flight() == 0; });
}

bool Stage::is_live(const std::string& bearer) const {
  const std::string url = portal_.base_url();
  const auto port = static_cast<std::uint16_t>(std::stoul(url.substr(url.rfind(':') + 1)));
  const std::string request =
      "GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer " + bearer +
      "\r\nConnection: close\r\n\r\n";
  return status_line(port, request).starts_with("HTTP/1.1 200");
}

std::vector<Tokens> tokens_in(const Home& home) {
  StoreOptions options;
  options.path = home.store();
  options.key_file = home.key();
  const auto store = Store::open(std::move(options), OpenMode::look);
  if (!store) throw std::runtime_error(store.error().message);
  const auto rows = store->list({});
  if (!rows) throw std::runtime_error(rows.error().message);
  std::vector<Tokens> all;
  for (const auto& row : *rows) {
    const auto held = store->unseal(row.uid);
    if (!held && held.error().code == Errc::not_found) continue;  // removed meanwhile
    if (!held) throw std::runtime_error(held.error().message);
    all.push_back(
        {std::string(held->access_token.reveal()), std::string(held->refresh_token.reveal())});
  }
  return all;
}

std::string expired_grant(const Tokens& tokens, const std::string& scope) {
  return nlohmann::json{{"access_token", tokens.access},
                        {"refresh_token", tokens.refresh},
                        {"scope", scope},
                        {"token_type", "Bearer"},
                        {"expires_in", 60},
                        {"obtained_at", kLongAgo}}
      .dump();
}

void write_file(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
  fs::permissions(path, fs::perms::owner_read | fs::perms::owner_write);
}

std::string read_file(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

}  // namespace authdb::prove
