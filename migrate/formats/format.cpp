#include "migrate/formats/format.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <optional>

#include "migrate/formats/fields.h"
#include "migrate/formats/json_text.h"
#include "migrate/formats/strangers.h"
#include "migrate/source_file.h"
#include "store/claims.h"
#include "store/fingerprint.h"
#include "store/user_directories.h"

namespace authdb::migrate {

// One for each tool's own .cpp.
extern const Format kHermes;
extern const Format kHermesAnthropic;
extern const Format kHermesSharedNous;
extern const Format kClaude;
extern const Format kCodex;
extern const Format kQwen;
extern const Format kOpencode;

namespace {

using nlohmann::json;

// Nothing is taken from it.
Document failed(Document document, Error error) {
  Document bare;
  bare.path = std::move(document.path);
  bare.sha256 = std::move(document.sha256);
  bare.profile = std::move(document.profile);
  bare.failure = std::move(error);
  return bare;
}

Error unrecognised(const std::string& path) {
  Error error{Errc::refused, path + ": no credential file that we know", "Recognised are:"};
  for (const Format* format : formats()) {
    error.hint += (error.hint.back() == ':' ? " " : "; ") + std::string(format->name) + " (" +
                  std::string(format->shape) + ")";
  }
  error.hint += ". --as NAME takes a PATH for one of them all the same.";
  return error;
}

// What Hermes notes of each refresh token that it has rotated away: once a prefix of its SHA-256,
// with or without the name of the hash.
std::optional<std::string> spent_fingerprint(const json& entry) {
  constexpr std::string_view kName = "sha256:";
  constexpr std::size_t kDigits = 16;
  if (!entry.is_string()) return std::nullopt;
  std::string_view hex = entry.get_ref<const std::string&>();
  if (hex.starts_with(kName)) hex.remove_prefix(kName.size());
  if (hex.size() < kDigits) return std::nullopt;  // too short to be evidence against a token
  return std::string(kName) + std::string(hex.substr(0, kDigits));
}

Result<std::vector<std::string>> read_spent(const std::filesystem::path& path) {
  std::vector<std::string> spent;
  auto bytes = read_source(path);
  if (!bytes && bytes.error().code == Errc::not_found) return spent;
  if (!bytes) return fail(std::move(bytes.error()));
  const auto tree = parse_json(bytes->text.reveal(), path.string());
  if (!tree) return fail(tree.error());
  const json list = tree->is_object() ? tree->value("fingerprints", json()) : json();
  for (const json& entry : list) {
    if (auto print = spent_fingerprint(entry)) spent.push_back(std::move(*print));
  }
  return spent;
}

}  // namespace

std::span<const Format* const> formats() {
  static constexpr std::array kFormats{
      &kHermes, &kHermesAnthropic, &kHermesSharedNous, &kClaude, &kCodex, &kQwen, &kOpencode};
  return kFormats;
}

const Format* format_named(std::string_view name) {
  const auto it = std::find_if(formats().begin(), formats().end(),
                               [&](const Format* format) { return format->name == name; });
  return it == formats().end() ? nullptr : *it;
}

std::filesystem::path tidy(const std::filesystem::path& path) {
  std::error_code error;
  const auto full = std::filesystem::absolute(path, error).lexically_normal();
  return full.has_filename() ? full : full.parent_path();
}

std::filesystem::path tool_directory(std::initializer_list<const char*> variables,
                                     const char* usual) {
  for (const char* variable : variables) {
    const char* const value = std::getenv(variable);
    if (value != nullptr && *value != '\0') return value;
  }
  const auto home = home_directory();
  return home.empty() ? home : home / usual;
}

std::vector<std::filesystem::path> kept_in(const std::filesystem::path& directory,
                                           std::string_view file) {
  if (directory.empty()) return {};
  return {directory / file};
}

bool is_at(const std::filesystem::path& path, std::string_view place) {
  const std::string full = "/" + path.generic_string();
  return full.ends_with("/" + std::string(place));
}

bool is_issued_by(const json& tokens, std::string_view issuer) {
  for (const char* key : {"access_token", "id_token", "accessToken", "refreshToken"}) {
    if (!has_text(tokens, key)) continue;
    auto claims = read_claims(tokens.at(key).get_ref<const std::string&>());
    if (!claims) continue;
    if (claims->issuer.ends_with('/')) claims->issuer.pop_back();
    if (claims->issuer == issuer) return true;
  }
  return false;
}

Seconds usual_skew(std::string_view) { return Seconds{300}; }

LockRule hermes_lock(std::filesystem::path path) {
  return {LockRule::Kind::flock, path.replace_extension(".lock")};
}

std::vector<GrantPlace> places_in(json& root, std::string_view format) {
  const Format* known = format_named(format);
  return known == nullptr || !root.is_object() ? std::vector<GrantPlace>() : known->places(root);
}

// A profile is called as its directory, and that may be called anything.
bool is_name(const std::string& profile) {
  return is_utf8(profile) && std::none_of(profile.begin(), profile.end(),
                                          [](unsigned char c) { return c < 0x20 || c == 0x7F; });
}

Error unnameable(const std::filesystem::path& path) {
  return {Errc::refused,
          path.string() +
              ": its directory's name can be no profile's: it has control characters, "
              "or is no UTF-8",
          "Nothing was taken from this file; give the directory another name, and migrate again."};
}

// Rows with a token that can be none are left where they are, and named.
void leave_odd_tokens(Document& document) {
  const auto odd_field = [](const Row& row) -> const char* {
    const auto is_odd = [](const Secret& token) {
      return !token.empty() && !is_token_text(token.reveal());
    };
    if (is_odd(row.grant.access_token)) return "access token";
    if (is_odd(row.grant.refresh_token)) return "refresh token";
    return row.agent_key && is_odd(row.agent_key->secret) ? "agent key" : nullptr;
  };
  std::erase_if(document.rows, [&](const Row& row) {
    const char* const field = odd_field(row);
    if (field == nullptr) return false;
    document.bad_rows.push_back(
        {row.where, std::string("the ") + field,
         "has a character that no token has (a space, a line end, a control character, no ASCII)",
         true});
    return true;
  });
}

Document read_document(const std::filesystem::path& path, std::string profile,
                       std::string_view as) {
  Document document;
  document.path = path;
  document.profile = std::move(profile);

  if (!is_name(document.profile)) return failed(std::move(document), unnameable(path));
  if (auto database = database_at(path)) {
    document.failure = std::move(*database);
    return document;
  }
  auto bytes = read_source(path);
  if (!bytes) {
    document.failure = std::move(bytes.error());
    return document;
  }
  document.sha256 = std::move(bytes->sha256);
  auto tree = parse_json(bytes->text.reveal(), path.string());
  if (!tree) {
    document.failure = std::move(tree.error());
    return document;
  }
  for (const Format* format : formats()) {
    if (!tree->is_object()) break;
    if (as.empty() ? !format->recognises(*tree, path) : format->name != as) continue;
    document.format = format->name;
    format->read(std::move(*tree), document);
    leave_odd_tokens(document);
    auto spent = read_spent(path.string() + ".hermes-spent-rotations.json");
    if (!spent) return failed(std::move(document), std::move(spent.error()));
    document.spent = std::move(*spent);
    return document;
  }
  auto stranger = stranger_in(*tree, path);
  wipe_strings(*tree);
  document.failure = stranger.value_or(unrecognised(path.string()));
  return document;
}

}  // namespace authdb::migrate
