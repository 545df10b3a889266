#include "oauth/authorities.h"

#include <algorithm>
#include <filesystem>

#include "store/files.h"
#include "store/ownership.h"

namespace authdb::oauth {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kLargestBundle = 16 << 20;  // Debian's has 0.2 MiB
constexpr std::size_t kHashDigits = 8;

// Who named the file, as a person would look for it.
std::string named_by(const Setting& file, const Provider& provider, const Identity& identity) {
  if (!file.variable.empty()) return file.variable;
  if (!identity.ca_file.empty()) return "tls.ca_bundle of this credential";
  const auto origin = provider.origin.find("ca_file");
  return "ca_file of " + (origin == provider.origin.end() ? provider.id : origin->second);
}

std::string mend(const std::string& by, const std::string& what, bool variable) {
  return "Let " + by + " name " + what +
         (variable ? ", or unset it." : ", or set AUTHDB_CA_FILE, which comes first.");
}

std::string mend_bundle(const Setting& file, const std::string& by) {
  return mend(by, "a PEM file of certificates", !file.variable.empty());
}

Result<void> check_bundle(const Setting& file, const std::string& by) {
  const bool variable = !file.variable.empty();
  const std::string hint = mend_bundle(file, by);
  // Where a process happens to stand says nothing about what another tool's file meant.
  if (!variable && !fs::path(file.value).is_absolute()) {
    return fail(Errc::refused, by + ": " + file.value + " is no absolute path", hint);
  }
  // Who can put an authority there can have tokens sent to himself.
  if (const auto safe = check_loadable(file.value); !safe) {
    return fail(Errc::refused, by + ": " + safe.error().message,
                safe.error().hint.empty() ? hint : safe.error().hint);
  }
  return {};
}

Result<std::string> read_bundle(const Setting& file, const std::string& by) {
  if (auto usable = check_bundle(file, by); !usable) return fail(std::move(usable.error()));
  const std::string hint = mend_bundle(file, by);
  const auto text = read_file(file.value, kLargestBundle);
  if (!text) return fail(Errc::refused, by + ": " + text.error().message, hint);
  if (text->reveal().find("-----BEGIN ") != std::string_view::npos) {
    return std::string(text->reveal());
  }
  return fail(Errc::refused,
              by + ": " + file.value + " has no certificate in it (-----BEGIN CERTIFICATE-----)",
              hint);
}

// `9d04f354.0`, by which OpenSSL finds an authority.
bool is_hashed(const fs::path& file) {
  const std::string name = file.filename();
  const auto is_hex = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  return name.size() > kHashDigits + 1 && name[kHashDigits] == '.' &&
         std::all_of(name.begin(), name.begin() + kHashDigits, is_hex);
}

// How many authorities OpenSSL would find in it. It opens them itself: so nothing in there may be
// something at which it would wait, or what another user put there.
Result<int> count_hashed(const std::string& variable, const fs::path& directory) {
  std::error_code error;
  int count = 0;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    if (!is_hashed(it->path())) continue;
    ++count;
    const auto safe = check_loadable(it->path());
    if (safe) continue;
    return fail(Errc::refused, variable + ": " + safe.error().message,
                "Mend or remove it, or unset " + variable + ".");
  }
  return count;
}

// As OpenSSL reads the variable: those that are not there do not count, if another one is.
Result<void> check_directories(const Setting& named) {
  int count = 0;
  for (std::string_view rest = named.value; !rest.empty();) {
    const auto end = std::min(rest.find(':'), rest.size());
    const auto found = count_hashed(named.variable, rest.substr(0, end));
    if (!found) return fail(found.error());
    count += *found;
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  if (count > 0) return {};
  return fail(Errc::refused,
              named.variable + ": there are no certificates in " + named.value +
                  " by the names that OpenSSL looks for",
              mend(named.variable, "a directory in which `openssl rehash DIRECTORY` has been run",
                   /*variable=*/true));
}

}  // namespace

Result<Authorities> authorities_of(const Provider& provider, const Identity& identity,
                                   const Environment& environment) {
  Authorities out;
  const Setting file = ca_file_of(provider, identity, environment);
  if (!file.value.empty()) {
    out.named_by = named_by(file, provider, identity);
    auto pem = read_bundle(file, out.named_by);
    if (!pem) return fail(std::move(pem.error()));
    out.pem = *std::move(pem);
  }
  const Setting directory = ca_directory_of(provider, identity, environment);
  if (directory.value.empty()) return out;
  if (auto usable = check_directories(directory); !usable) return fail(std::move(usable.error()));
  out.directory = directory.value;
  out.named_by += (out.named_by.empty() ? "" : " and ") + directory.variable;
  return out;
}

std::optional<Error> unusable_ca_file(const Provider& provider, const Identity& identity,
                                      const Environment& environment) {
  const Setting file = ca_file_of(provider, identity, environment);
  if (file.value.empty()) return std::nullopt;
  const auto usable = check_bundle(file, named_by(file, provider, identity));
  return usable ? std::nullopt : std::optional(usable.error());
}

}  // namespace authdb::oauth
