// Sealing: what keeps auth.db worthless without its key file.
//
// A sealed cell is 0x01, the key's id (4 bytes), a random nonce (24) and XChaCha20-Poly1305
// ciphertext whose associated data is `store id|uid|table.column|generation`: a cell that was
// copied, swapped or rolled back does not open. Stored: never change; a new format takes a new
// first byte.
//
// Thread safety: a const Sealer may be used from any thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "store/key_file.h"
#include "store/result.h"
#include "store/secret.h"

namespace authdb {

using Sealed = std::vector<unsigned char>;

// What a cell is bound to.
struct SealPlace {
  std::string_view store_id;
  std::string_view uid;
  std::string_view column;  // `table.column`
  std::int64_t generation = 0;
};

// What tells a wrong key from a damaged store: a known text, sealed in meta.key_check.
inline constexpr std::string_view kKeyCheckColumn = "meta.key_check";
inline constexpr std::string_view kKeyCheckText = "authdb";

// The key that a cell names; nullopt if it is no sealed cell at all.
std::optional<KeyId> key_of(std::span<const unsigned char> cell);

class Sealer {
 public:
  // Errors: as read_keys(). Seals with the first key of the file until told otherwise.
  static Result<Sealer> load(const std::filesystem::path& key_file);
  // As create_key_file(). Only ever together with a new store: a key made for an existing one would
  // open nothing.
  static Result<void> create(const std::filesystem::path& key_file, std::string_view store_id = {});

  Sealed seal(const Secret& plain, const SealPlace& place) const;
  // refused: sealed with a key that is not in the file, or not this store's cell (says which).
  Result<Secret> open(std::span<const unsigned char> cell, const SealPlace& place) const;

  // The key it seals with.
  const KeyId& active() const { return keys_[active_].id; }
  // Seals with that key from now on; false if it is not in the file.
  bool activate(const KeyId& id);
  bool holds(const KeyId& id) const;
  const std::vector<SealKey>& keys() const { return keys_; }
  // True if both hold the same keys and seal with the same one.
  bool same_as(const Sealer& other) const;

 private:
  explicit Sealer(std::vector<SealKey> keys) : keys_(std::move(keys)) {}
  std::vector<SealKey> keys_;
  std::size_t active_ = 0;
};

}  // namespace authdb
