// The key file: the keys that seal a store's cells, newest first.
//
// A line is eight hex digits of id, a space and 64 of key. The comment `# store ID` in front of it
// says which store it was drawn for: several stores of one user may share the file, and each seals
// with keys of its own, so that none can prune another's. Other comments and empty lines are kept.
//
// Written only as a whole, under a lock on the file itself: another process reads the old file or
// the new one.
//
// Thread safety: any thread, any process.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "store/clock.h"
#include "store/result.h"
#include "store/secret.h"

namespace authdb {

using KeyId = std::array<unsigned char, 4>;
std::string hex(const KeyId& id);

struct SealKey {
  KeyId id{};
  Secret bytes;
  std::string store_id;  // the store it was drawn for; empty: the file does not say
};

// refused: missing (names the file), readable by others or owned by somebody else, malformed (names
// the line), or without a key.
Result<std::vector<SealKey>> read_keys(const std::filesystem::path& key_file);

// The ids that the file has before or after `look`, which finds out what is sealed with which. A
// key is in the file before anything is sealed with it, and goes when nothing is any more: what is
// in neither is missing, whatever other processes draw and prune meanwhile.
Result<std::set<KeyId>> key_ids_around(const std::filesystem::path& key_file,
                                       const std::function<void()>& look);

// Draws a first key into a file that must not exist; if another process was faster, its file
// stands.
Result<void> create_key_file(const std::filesystem::path& key_file, std::string_view store_id);

// Draws a key on top of those there are. busy if the file's lock is not had within `wait`.
Result<KeyId> add_key(const std::filesystem::path& key_file, std::string_view store_id,
                      Milliseconds wait);

// Takes those keys out. The last one cannot be.
Result<void> drop_keys(const std::filesystem::path& key_file, const std::vector<KeyId>& ids,
                       Milliseconds wait);

// The newest key that a store may seal with: its own or one of nobody's, else the first of all.
KeyId newest_key_for(const std::vector<SealKey>& keys, std::string_view store_id);

}  // namespace authdb
