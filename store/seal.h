// Sealing: what keeps auth.db worthless without its key file.
//
// A sealed cell is 0x01, the key's id (4 bytes), a random nonce (24) and XChaCha20-Poly1305
// ciphertext whose associated data is `store id|uid|table.column|generation`: a cell that was
// copied, swapped or rolled back does not open. Stored: never change; a new format takes a new
// first byte.
//
// Thread safety: a Sealer is immutable.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "store/result.h"
#include "store/secret.h"

namespace authdb {

using Sealed = std::vector<unsigned char>;
using KeyId = std::array<unsigned char, 4>;

// What a cell is bound to.
struct SealPlace {
  std::string_view store_id;
  std::string_view uid;
  std::string_view column;  // `table.column`
  std::int64_t generation = 0;
};

// The key file holds one key a line, newest first: eight hex digits of id, a space, 64 of key.
class Sealer {
 public:
  // refused: missing (names the file), readable by others or owned by somebody else, malformed.
  static Result<Sealer> load(const std::filesystem::path& key_file);
  // Draws a first key into a file that must not exist; if another process was faster, its key
  // stands. Only ever together with a new store: a key made for an existing one would open nothing.
  static Result<void> create(const std::filesystem::path& key_file);

  Sealed seal(const Secret& plain, const SealPlace& place) const;
  // refused: sealed with a key that is not in the file, or not this store's cell (says which).
  Result<Secret> open(std::span<const unsigned char> cell, const SealPlace& place) const;

  KeyId active() const { return keys_.front().id; }

 private:
  struct Key {
    KeyId id{};
    Secret bytes;
  };
  static Result<std::vector<Key>> parse(const Secret& file, const std::filesystem::path& key_file);
  explicit Sealer(std::vector<Key> keys) : keys_(std::move(keys)) {}
  std::vector<Key> keys_;
};

}  // namespace authdb
