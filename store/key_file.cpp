#include "store/key_file.h"

#include <sodium.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <optional>
#include <span>

#include "store/file_lock.h"
#include "store/files.h"
#include "store/ownership.h"

namespace authdb {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kKey = crypto_aead_xchacha20poly1305_ietf_KEYBYTES;
constexpr std::size_t kIdDigits = 2 * std::tuple_size_v<KeyId>;
constexpr std::size_t kLine = kIdDigits + 1 + 2 * kKey;
constexpr std::size_t kLargestKeyFile = 64 * 1024;
constexpr std::string_view kBanner =
    "# authdb seal key. Without it the store cannot be opened: keep a copy, apart from the "
    "store.\n";
constexpr std::string_view kOwner = "# store ";

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

bool is_key_line(std::string_view line) { return !line.empty() && line.front() != '#'; }

// Takes the next line off `rest`, without its end.
std::string_view next_line(std::string_view& rest) {
  const auto end = std::min(rest.find('\n'), rest.size());
  const std::string_view line = rest.substr(0, end);
  rest.remove_prefix(std::min(end + 1, rest.size()));
  return line;
}

std::optional<SealKey> parse_line(std::string_view line) {
  if (line.size() != kLine || line[kIdDigits] != ' ') return std::nullopt;
  SealKey key;
  std::vector<char> raw(kKey);
  const bool good =
      unhex(line.substr(0, kIdDigits), key.id) &&
      unhex(line.substr(kIdDigits + 1), {reinterpret_cast<unsigned char*>(raw.data()), kKey});
  key.bytes = Secret(std::move(raw));
  if (!good) return std::nullopt;
  return key;
}

Result<std::vector<SealKey>> parse(const Secret& file, const fs::path& key_file) {
  std::vector<SealKey> keys;
  std::string owner;
  std::string_view rest = file.reveal();
  for (int line_number = 1; !rest.empty(); ++line_number) {
    const std::string_view line = next_line(rest);
    if (line.starts_with(kOwner)) owner = line.substr(kOwner.size());
    if (!is_key_line(line)) continue;
    auto key = parse_line(line);
    if (!key) {
      return fail(Errc::refused,
                  "the seal key file " + key_file.string() + " is damaged at line " +
                      std::to_string(line_number),
                  "Put back your copy of it. Nothing has been changed.");
    }
    key->store_id = std::exchange(owner, {});
    keys.push_back(std::move(*key));
  }
  if (!keys.empty()) return keys;
  return fail(Errc::refused, "the seal key file " + key_file.string() + " holds no key",
              "Put back your copy of it. Nothing has been changed.");
}

// Where the key is, or is to be made.
Result<void> check_place(const fs::path& key_file) {
  if (!key_file.empty()) return check_irreplaceable(key_file);
  return fail(Errc::refused, "there is no place for the seal key: this user has no home directory",
              "Set HOME to an absolute path, or name the key with AUTHDB_KEY_FILE.");
}

Result<Secret> read_text(const fs::path& key_file) {
  if (auto checked = check_place(key_file); !checked) return fail(checked.error());
  struct stat st {};
  if (::stat(key_file.c_str(), &st) != 0 && errno == ENOENT) {
    return fail(Errc::refused, "the seal key " + key_file.string() + " is missing",
                "Put back your copy of it, or name it with AUTHDB_KEY_FILE. "
                "`authdb status` works without it; tokens do not.");
  }
  if (auto checked = check_private_or_handed(key_file); !checked) return fail(checked.error());
  return read_file(key_file, kLargestKeyFile);
}

// Text of a key file in the making, wiped whatever becomes of it.
class KeyText {
 public:
  // No reallocation once a key is in it: it would leave a copy behind.
  explicit KeyText(std::size_t size) { text_.reserve(size); }
  ~KeyText() { wipe(text_.data(), text_.size()); }
  KeyText(const KeyText&) = delete;
  KeyText& operator=(const KeyText&) = delete;
  void line(std::string_view line) { text_.append(line).append("\n"); }
  void banner() { text_.append(kBanner); }
  KeyId draw(std::string_view store_id) {
    std::array<unsigned char, kKey> key{};
    KeyId id{};
    randombytes_buf(key.data(), key.size());
    randombytes_buf(id.data(), id.size());
    std::string key_hex = hex(std::span<const unsigned char>(key));
    if (!store_id.empty()) text_.append(kOwner).append(store_id).append("\n");
    text_.append(authdb::hex(id)).append(" ").append(key_hex).append("\n");
    wipe(key_hex.data(), key_hex.size());
    wipe(key.data(), key.size());
    return id;
  }
  Secret done() { return Secret::take(std::move(text_)); }

  static std::size_t room_for_a_key(std::string_view store_id) {
    return kOwner.size() + store_id.size() + 1 + kLine + 1;
  }

 private:
  std::string text_;
};

// Replaces the file by what `edit` makes of its text, under its lock. A link to it stays a link.
Result<void> rewrite(const fs::path& key_file, Milliseconds wait,
                     const std::function<Result<Secret>(std::string_view)>& edit) {
  std::error_code error;
  const fs::path path = fs::canonical(key_file, error);
  if (error) return fail(file_error("cannot find", key_file, error.value()));
  if (auto checked = check_private(path); !checked) return checked;
  const auto lock = FileLock::acquire(path, wait);
  if (!lock) return fail(lock.error());
  if (!*lock) {
    return fail(Errc::busy, "another process is changing the seal key file " + path.string(),
                "Nothing was changed. Try again.");
  }
  const auto text = read_text(path);
  if (!text) return fail(text.error());
  if (auto whole = parse(*text, path); !whole) return fail(whole.error());
  const auto edited = edit(text->reveal());
  if (!edited) return fail(edited.error());
  return replace_durable(path, *edited);
}

bool names_any(std::string_view line, const std::vector<KeyId>& ids) {
  return is_key_line(line) && std::any_of(ids.begin(), ids.end(), [&](const KeyId& id) {
           return line.starts_with(hex(id));
         });
}

}  // namespace

std::string hex(const KeyId& id) { return hex(std::span<const unsigned char>(id)); }

Result<std::vector<SealKey>> read_keys(const fs::path& key_file) {
  const auto text = read_text(key_file);
  if (!text) return fail(text.error());
  return parse(*text, key_file);
}

Result<void> create_key_file(const fs::path& key_file, std::string_view store_id) {
  if (auto checked = check_place(key_file); !checked) return checked;
  if (auto made = make_private_directories(key_file.parent_path()); !made) return made;
  KeyText text(kBanner.size() + KeyText::room_for_a_key(store_id));
  text.banner();
  text.draw(store_id);
  const auto created = create_durable(key_file, text.done());
  if (!created) return fail(created.error());
  return {};
}

Result<KeyId> add_key(const fs::path& key_file, std::string_view store_id, Milliseconds wait) {
  KeyId drawn{};
  const auto added = rewrite(key_file, wait, [&](std::string_view before) -> Result<Secret> {
    KeyText text(before.size() + 1 + KeyText::room_for_a_key(store_id));
    bool placed = false;
    while (!before.empty()) {
      std::string_view rest = before;
      const std::string_view line = next_line(rest);
      if (!placed && (is_key_line(line) || line.starts_with(kOwner))) {
        drawn = text.draw(store_id);
        placed = true;
      }
      text.line(line);
      before = rest;
    }
    return text.done();
  });
  if (!added) return fail(added.error());
  return drawn;
}

Result<void> drop_keys(const fs::path& key_file, const std::vector<KeyId>& ids, Milliseconds wait) {
  return rewrite(key_file, wait, [&](std::string_view before) -> Result<Secret> {
    KeyText text(before.size() + 1);
    std::string_view owner;  // goes with its key
    bool any_left = false;
    while (!before.empty()) {
      const std::string_view line = next_line(before);
      if (line.starts_with(kOwner)) {
        owner = line;
        continue;
      }
      const bool dropped = names_any(line, ids);
      if (is_key_line(line) && !dropped && !owner.empty()) text.line(owner);
      if (is_key_line(line)) owner = {};
      if (!dropped) text.line(line);
      any_left = any_left || (is_key_line(line) && !dropped);
    }
    if (any_left) return text.done();
    return fail(Errc::refused, "a seal key file needs a key", "Nothing was changed.");
  });
}

KeyId newest_key_for(const std::vector<SealKey>& keys, std::string_view store_id) {
  const auto found = std::find_if(keys.begin(), keys.end(), [&](const SealKey& key) {
    return key.store_id.empty() || key.store_id == store_id;
  });
  return found == keys.end() ? keys.front().id : found->id;
}

Result<std::set<KeyId>> key_ids_around(const fs::path& key_file,
                                       const std::function<void()>& look) {
  std::set<KeyId> ids;
  const auto collect = [&]() -> Result<void> {
    const auto keys = read_keys(key_file);
    if (!keys) return fail(keys.error());
    for (const SealKey& key : *keys) ids.insert(key.id);
    return {};
  };
  if (auto before = collect(); !before) return fail(std::move(before.error()));
  look();
  if (auto after = collect(); !after) return fail(std::move(after.error()));
  return ids;
}

}  // namespace authdb
