#include "store/seal.h"

#include <sodium.h>

#include <algorithm>
#include <string>

namespace authdb {
namespace {

namespace fs = std::filesystem;

constexpr unsigned char kFormat = 0x01;
constexpr std::size_t kNonce = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES;
constexpr std::size_t kTag = crypto_aead_xchacha20poly1305_ietf_ABYTES;
constexpr std::size_t kHead = 1 + std::tuple_size_v<KeyId> + kNonce;

const unsigned char* bytes(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

std::string associated_data(const SealPlace& place) {
  std::string data;
  data.append(place.store_id).append("|").append(place.uid).append("|").append(place.column);
  return data.append("|").append(std::to_string(place.generation));
}

}  // namespace

std::optional<KeyId> key_of(std::span<const unsigned char> cell) {
  KeyId id{};
  if (cell.size() < kHead + kTag || cell[0] != kFormat) return std::nullopt;
  std::copy_n(cell.begin() + 1, id.size(), id.begin());
  return id;
}

Result<Sealer> Sealer::load(const fs::path& key_file) {
  auto keys = read_keys(key_file);
  if (!keys) return fail(std::move(keys.error()));
  return Sealer(std::move(*keys));
}

Result<void> Sealer::create(const fs::path& key_file, std::string_view store_id) {
  return create_key_file(key_file, store_id);
}

bool Sealer::activate(const KeyId& id) {
  const auto found = std::find_if(keys_.begin(), keys_.end(),
                                  [&](const SealKey& candidate) { return candidate.id == id; });
  if (found == keys_.end()) return false;
  active_ = static_cast<std::size_t>(found - keys_.begin());
  return true;
}

bool Sealer::holds(const KeyId& id) const {
  return std::any_of(keys_.begin(), keys_.end(),
                     [&](const SealKey& candidate) { return candidate.id == id; });
}

bool Sealer::same_as(const Sealer& other) const {
  return active() == other.active() &&
         std::equal(keys_.begin(), keys_.end(), other.keys_.begin(), other.keys_.end(),
                    [](const SealKey& a, const SealKey& b) { return a.id == b.id; });
}

Sealed Sealer::seal(const Secret& plain, const SealPlace& place) const {
  const SealKey& key = keys_[active_];
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
  const auto id = key_of(cell);
  if (!id) {
    return fail(Errc::refused, "the sealed cell " + where + " is damaged",
                "Restore the store from a backup, or log this credential in again.");
  }
  const auto key = std::find_if(keys_.begin(), keys_.end(),
                                [&](const SealKey& candidate) { return candidate.id == *id; });
  if (key == keys_.end()) {
    return fail(Errc::refused,
                "the seal key file does not hold key " + hex(*id) + ", which sealed " + where,
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
                "Somebody or something has changed the file. `authdb doctor` says what to do.");
  }
  return Secret(std::move(plain));
}

}  // namespace authdb
