#include "tools/prove/search.h"

#include <array>
#include <cctype>
#include <cstring>
#include <fstream>
#include <sstream>

namespace authdb::prove {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kShortest = 8;  // what the search begins with: a word of the machine
constexpr std::size_t kPiece = 24;

std::string hex(std::string_view bytes, const char* digits) {
  std::string out;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    out += digits[byte >> 4];
    out += digits[byte & 15];
  }
  return out;
}

// What stands in any base64 text of which `bytes` are a part, `before` bytes behind a group's
// begin: characters that have bits of the neighbours in them are left out.
std::string base64(std::string_view bytes, std::size_t before, bool for_urls) {
  const std::string alphabet =
      std::string("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789") +
      (for_urls ? "-_" : "+/");
  const std::size_t end = (before + bytes.size()) * 8;
  const auto bit = [&](std::size_t at) {
    const auto byte = static_cast<unsigned char>(bytes[at / 8 - before]);
    return (byte >> (7 - at % 8)) & 1U;
  };
  std::string out;
  for (std::size_t at = (before * 8 + 5) / 6 * 6; at + 6 <= end; at += 6) {
    unsigned value = 0;
    for (std::size_t i = 0; i < 6; ++i) value = value << 1 | bit(at + i);
    out += alphabet[value];
  }
  return out;
}

std::string percent(std::string_view text, const char* digits) {
  std::string out;
  for (const char c : text) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0 ||
                       std::string_view("-._~").find(c) != std::string_view::npos;
    out += plain ? std::string(1, c) : '%' + hex({&c, 1}, digits);
  }
  return out;
}

std::string json_escaped(std::string_view text, bool slashes_too) {
  std::string out;
  for (const char c : text) {
    if (c == '"' || c == '\\' || (c == '/' && slashes_too)) out += '\\';
    out += c;
  }
  return out;
}

std::string json_by_number(std::string_view text) {
  std::string out;
  for (const char c : text) out += "\\u00" + hex({&c, 1}, "0123456789abcdef");
  return out;
}

std::uint64_t word_at(const char* bytes) {
  std::uint64_t word = 0;
  std::memcpy(&word, bytes, sizeof word);
  return word;
}

std::size_t pair_at(const char* bytes) {
  return static_cast<unsigned char>(bytes[0]) * 256U + static_cast<unsigned char>(bytes[1]);
}

std::string content_of(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

}  // namespace

void SecretSearch::look_for(std::string text, const std::string& what) {
  if (text.size() < kShortest) return;
  const auto [first, last] = needles_.equal_range(word_at(text.data()));
  for (auto known = first; known != last; ++known) {
    if (known->second.text == text) return;
  }
  begins_[pair_at(text.data())] = true;
  const std::uint64_t word = word_at(text.data());
  needles_.emplace(word, Needle{std::move(text), what});
}

void SecretSearch::add(std::string_view secret, const std::string& name) {
  if (secret.size() < kShortest || !known_.emplace(secret).second) return;
  constexpr const char* kSmall = "0123456789abcdef";
  constexpr const char* kLarge = "0123456789ABCDEF";
  const auto size = std::min(secret.size(), kPiece);
  for (const auto piece : {secret.substr(0, size), secret.substr(secret.size() - size)}) {
    look_for(std::string(piece), name + ", as it is");
    for (const char* digits : {kSmall, kLarge}) {
      look_for(hex(piece, digits), name + ", in hex");
      look_for(percent(piece, digits), name + ", as in a URL");
    }
    for (std::size_t before = 0; before < 3; ++before) {
      look_for(base64(piece, before, false), name + ", in base64");
      look_for(base64(piece, before, true), name + ", in base64url");
    }
    look_for(json_escaped(piece, false), name + ", as in JSON");
    look_for(json_escaped(piece, true), name + ", as in JSON");
    look_for(json_by_number(piece), name + ", as in JSON");
  }
}

std::set<std::string> SecretSearch::found_in(std::string_view bytes) const {
  std::set<std::string> found;
  for (std::size_t at = 0; at + kShortest <= bytes.size(); ++at) {
    const char* here = bytes.data() + at;
    if (!begins_[pair_at(here)]) continue;
    const auto [first, last] = needles_.equal_range(word_at(here));
    for (auto needle = first; needle != last; ++needle) {
      if (bytes.substr(at).starts_with(needle->second.text)) found.insert(needle->second.what);
    }
  }
  return found;
}

std::vector<std::string> SecretSearch::found_below(
    const fs::path& directory, const std::function<bool(const fs::path&)>& skip) const {
  std::vector<std::string> all;
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    if (skip(entry.path())) continue;
    std::string bytes = entry.path().filename().string() + '\n';
    if (entry.is_symlink()) {
      bytes += fs::read_symlink(entry.path()).string();
    } else if (entry.is_regular_file()) {
      bytes += content_of(entry.path());
    }
    for (const auto& what : found_in(bytes)) all.push_back(what + ", in " + entry.path().string());
  }
  return all;
}

}  // namespace authdb::prove
