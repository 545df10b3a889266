#include "store/seal.h"

#include <fcntl.h>
#include <sodium.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>

#include "store/files.h"

namespace authdb {
namespace {

namespace fs = std::filesystem;

constexpr unsigned char kFormat = 0x01;
constexpr std::size_t kNonce = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES;
constexpr std::size_t kTag = crypto_aead_xchacha20poly1305_ietf_ABYTES;
constexpr std::size_t kKey = crypto_aead_xchacha20poly1305_ietf_KEYBYTES;
constexpr std::size_t kHead = 1 + std::tuple_size_v<KeyId> + kNonce;
constexpr std::size_t kLine = 2 * std::tuple_size_v<KeyId> + 1 + 2 * kKey;
constexpr std::size_t kLargestKeyFile = 64 * 1024;
constexpr std::string_view kBanner =
    "# authdb seal key. Without it the store cannot be opened: keep a copy, apart from the "
    "store.\n";

const unsigned char* bytes(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

std::string associated_data(const SealPlace& place) {
  std::string data;
  data.append(place.store_id).append("|").append(place.uid).append("|").append(place.column);
  return data.append("|").append(std::to_string(place.generation));
}

std::string hex(std::span<const unsigned char> data) {
  std::string out(data.size() * 2 + 1, '\0');
  sodium_bin2hex(out.data(), out.size(), data.data(), data.size());
  out.pop_back();
  return out;
}

bool unhex(std::string_view text, std::span<unsigned char> out) {
  std::size_t used = 0;
  return sodium_hex2bin(out.data(), out.size(), text.data(), text.size(), nullptr, &used,
                        nullptr) == 0 &&
         used == out.size() && text.size() == out.size() * 2;
}

}  // namespace

Result<std::vector<Sealer::Key>> Sealer::parse(const Secret& file, const fs::path& key_file) {
  std::vector<Key> keys;
  std::string_view rest = file.reveal();
  for (int line_number = 1; !rest.empty(); ++line_number) {
    const auto end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.empty() || line.front() == '#') continue;
    Key key;
    std::vector<char> raw(kKey);
    const std::span<unsigned char> raw_bytes(reinterpret_cast<unsigned char*>(raw.data()), kKey);
    const bool good = line.size() == kLine && line[8] == ' ' && unhex(line.substr(0, 8), key.id) &&
                      unhex(line.substr(9), raw_bytes);
    key.bytes = Secret(std::move(raw));
    if (!good) {
      return fail(Errc::refused,
                  "the seal key file " + key_file.string() + " is damaged at line " +
                      std::to_string(line_number),
                  "Put back your copy of it. Nothing has been changed.");
    }
    keys.push_back(std::move(key));
  }
  return keys;
}

Result<Sealer> Sealer::load(const fs::path& key_file) {
  struct stat st {};
  if (::stat(key_file.c_str(), &st) != 0 && errno == ENOENT) {
    return fail(Errc::refused, "the seal key " + key_file.string() + " is missing",
                "Put back your copy of it, or name it with AUTHDB_KEY_FILE. "
                "`authdb status` works without it; tokens do not.");
  }
  if (auto checked = check_private(key_file); !checked) return fail(checked.error());
  const auto file = read_file(key_file, kLargestKeyFile);
  if (!file) return fail(file.error());
  auto keys = parse(*file, key_file);
  if (!keys) return fail(keys.error());
  if (keys->empty()) {
    return fail(Errc::refused, "the seal key file " + key_file.string() + " holds no key",
                "Put back your copy of it. Nothing has been changed.");
  }
  return Sealer(std::move(*keys));
}

Result<void> Sealer::create(const fs::path& key_file) {
  if (auto made = make_private_directories(key_file.parent_path()); !made) return made;
  std::array<unsigned char, kKey> key{};
  KeyId id{};
  randombytes_buf(key.data(), key.size());
  randombytes_buf(id.data(), id.size());
  std::string text = std::string(kBanner) + hex(id) + " ";
  text.reserve(text.size() + 2 * kKey + 2);  // no reallocation once the key is in it
  std::string key_hex = hex(key);
  text += key_hex + "\n";
  wipe(key_hex.data(), key_hex.size());
  wipe(key.data(), key.size());
  const auto created = create_durable(key_file, Secret::take(std::move(text)));
  if (!created) return fail(created.error());
  return {};
}

Sealed Sealer::seal(const Secret& plain, const SealPlace& place) const {
  const Key& key = keys_.front();
  const std::string_view text = plain.reveal();
  const std::string data = associated_data(place);
  Sealed cell(kHead + text.size() + kTag);
  cell[0] = kFormat;
  std::copy(key.id.begin(), key.id.end(), cell.begin() + 1);
  unsigned char* nonce = cell.data() + 1 + key.id.size();
  randombytes_buf(nonce, kNonce);
  crypto_aead_xchacha20poly1305_ietf_encrypt(cell.data() + kHead, nullptr, bytes(text), text.size(),
                                             bytes(data), data.size(), nullptr, nonce,
                                             bytes(key.bytes.reveal()));
  return cell;
}

Result<Secret> Sealer::open(std::span<const unsigned char> cell, const SealPlace& place) const {
  const std::string where =
      std::string(place.column) + (place.uid.empty() ? "" : " of " + std::string(place.uid));
  if (cell.size() < kHead + kTag || cell[0] != kFormat) {
    return fail(Errc::refused, "the sealed cell " + where + " is damaged",
                "Restore the store from a backup, or log this credential in again.");
  }
  const auto key = std::find_if(keys_.begin(), keys_.end(), [&](const Key& candidate) {
    return std::equal(candidate.id.begin(), candidate.id.end(), cell.begin() + 1);
  });
  if (key == keys_.end()) {
    return fail(Errc::refused,
                "the seal key file does not hold key " + hex(cell.subspan(1, 4)) +
                    ", which sealed " + where,
                "This is the key file of another store, or an old copy. Name the right one with "
                "AUTHDB_KEY_FILE.");
  }
  const std::string data = associated_data(place);
  std::vector<char> plain(cell.size() - kHead - kTag);
  if (crypto_aead_xchacha20poly1305_ietf_decrypt(
          reinterpret_cast<unsigned char*>(plain.data()), nullptr, nullptr, cell.data() + kHead,
          cell.size() - kHead, bytes(data), data.size(), cell.data() + 1 + std::tuple_size_v<KeyId>,
          bytes(key->bytes.reveal())) != 0) {
    return fail(Errc::refused, "the sealed cell " + where + " is damaged or from elsewhere",
                "Somebody or something has changed the file. Restore it from a backup.");
  }
  return Secret(std::move(plain));
}

}  // namespace authdb
