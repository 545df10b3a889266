#include "store/sqlite/opening.h"

#include <fcntl.h>
#include <linux/stat.h>
#include <sodium.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <system_error>

#include "store/draft.h"
#include "store/file_lock.h"
#include "store/files.h"
#include "store/ownership.h"
#include "store/seal.h"
#include "store/sqlite/connection.h"
#include "store/sqlite/schema_sql.h"
#include "store/uid.h"

namespace authdb::sqlite {
namespace {

namespace fs = std::filesystem;

constexpr Milliseconds kCreateWait{30'000};

// Resolves every link on the way, also where the file itself is not there yet.
fs::path resolved_path(const fs::path& path) {
  std::error_code error;
  fs::path found = fs::weakly_canonical(fs::absolute(path), error);
  return error ? fs::absolute(path) : found;
}

// What may not be looked at is there: using it will say why.
bool is_there(const fs::path& path) {
  struct stat st {};
  return ::lstat(path.c_str(), &st) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

// A journal is auth.db.d/<two letters>/<uid>.
Result<bool> has_journals(const fs::path& directory) {
  std::error_code error;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    if (!it->is_directory(error)) continue;
    const bool empty = fs::is_empty(it->path(), error);
    if (!error && !empty) return true;
  }
  if (!error || error == std::errc::no_such_file_or_directory) return false;
  return fail(file_error("cannot read", directory, error.value()));
}

Result<void> check_links(const fs::path& path) {
  struct statx sx {};
  if (::statx(AT_FDCWD, path.c_str(), AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &sx) != 0) {
    return fail(file_error("cannot look at", path, errno));
  }
  if (sx.stx_nlink > 1) {
    return fail(Errc::refused,
                path.string() + " has " + std::to_string(sx.stx_nlink) +
                    " hard links: under another name its log and locks would be other files",
                "Remove the other names; use a symbolic link instead.");
  }
  if ((sx.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0) {
    return fail(Errc::refused,
                path.string() + " is mounted as a single file: its log and locks stay behind",
                "Mount the directory that holds it instead.");
  }
  return {};
}

struct ForeignFileSystem {
  unsigned long magic;
  std::string_view name;
};
constexpr std::array kRefusedFileSystems = {
    ForeignFileSystem{0x6969, "NFS"},          ForeignFileSystem{0xff534d42, "CIFS"},
    ForeignFileSystem{0xfe534d42, "SMB"},      ForeignFileSystem{0x517b, "SMB"},
    ForeignFileSystem{0x01021997, "9p"},       ForeignFileSystem{0x65735546, "FUSE"},
    ForeignFileSystem{0x6a656a63, "virtiofs"}, ForeignFileSystem{0x00c36400, "Ceph"},
    ForeignFileSystem{0x5346414f, "AFS"},
};

// Locks and shared memory of these are a promise that is not always kept.
Result<void> check_file_system(const fs::path& directory) {
  const char* allowed = std::getenv("AUTHDB_ALLOW_FILESYSTEM");
  struct statfs fs_stat {};
  if ((allowed != nullptr && std::string_view(allowed) == "1") ||
      ::statfs(directory.c_str(), &fs_stat) != 0) {
    return {};
  }
  for (const auto& refused : kRefusedFileSystems) {
    if (static_cast<unsigned long>(fs_stat.f_type) != refused.magic) continue;
    return fail(
        Errc::refused,
        directory.string() + " is on " + std::string(refused.name) +
            ", where file locks cannot be relied on",
        "Use --store (or AUTHDB_STORE) with a path on a local disk; or, once `authdb-prove " +
            directory.string() + "` has passed there, set AUTHDB_ALLOW_FILESYSTEM=1.");
  }
  return {};
}

Result<std::string> read_store_id(const fs::path& directory) {
  const fs::path file = directory / "store";
  if (!is_there(file)) {
    return fail(Errc::refused, directory.string() + " is missing or incomplete beside auth.db",
                "auth.db and auth.db.d belong together: put back the one that was there. Where it "
                "is lost, `authdb doctor --repair` makes a new one, and holds each login as "
                "uncertain: nobody knows what was sent meanwhile.");
  }
  auto text = read_file(file, 256);
  if (!text) return fail(text.error());
  std::string id(text->reveal());
  while (!id.empty() && id.back() == '\n') id.pop_back();
  return id;
}

// The directories, in whatever way they are reached.
Result<void> check_places(const fs::path& named, const StoreFiles& files) {
  for (const fs::path& path : {named, files.directory / "store"}) {
    if (auto ok = check_irreplaceable(path); !ok) return ok;
  }
  for (const fs::path& directory : {files.database.parent_path(), files.directory}) {
    if (auto ok = check_file_system(directory); !ok) return ok;
  }
  return {};
}

// By the first bytes of a SQLite file: its magic text, and the number of the program it is of.
bool is_ours_by_header(std::string_view header) {
  constexpr std::string_view kMagic("SQLite format 3\0", 16);
  constexpr std::size_t kIdAt = 68;
  if (!header.starts_with(kMagic) || header.size() < kIdAt + 4) return false;
  std::uint32_t id = 0;
  for (const char c : header.substr(kIdAt, 4)) id = id << 8 | static_cast<unsigned char>(c);
  return id == static_cast<std::uint32_t>(kApplicationId);
}

// Before anybody is told to change the permissions of a file that is no store. Looked into only
// where auth.db.d is missing: to close a file that SQLite has open in this process would drop its
// locks. What cannot be read is not judged.
Result<void> check_is_store(const StoreFiles& files) {
  if (is_there(files.directory)) return {};
  const FileToRead file = open_to_read(files.database);
  if (!file) return {};
  std::array<char, 100> header{};
  const auto size = ::pread(file.fd.get(), header.data(), header.size(), 0);
  if (size < 0 || is_ours_by_header({header.data(), static_cast<std::size_t>(size)})) return {};
  return fail(Errc::refused, files.database.string() + " is not an authdb store",
              "Name the right file with --store (or AUTHDB_STORE). `authdb migrate FILE` imports "
              "the files of other tools.");
}

Result<void> check_existing(const fs::path& named, const StoreFiles& files) {
  if (auto ok = check_is_store(files); !ok) return ok;
  if (auto ok = check_private(files.database); !ok) return ok;
  if (auto ok = check_links(files.database); !ok) return ok;
  return check_places(named, files);
}

// ---- making a new one --------------------------------------------------------------------------

// Whoever made these directories and what is in them may have died before their names were durable.
// Those of somebody else we have not made.
void sync_upwards(fs::path directory) {
  struct stat st {};
  while (::stat(directory.c_str(), &st) == 0 && st.st_uid == ::geteuid()) {
    if (!sync_directory(directory) || directory == directory.parent_path()) return;
    directory = directory.parent_path();
  }
}

Result<std::string> claim_store_id(const fs::path& directory) {
  const fs::path file = directory / "store";
  if (!is_there(file)) {
    const auto made = create_durable(file, Secret::copy_of(draw_base32(26) + "\n"));
    if (!made) return fail(made.error());
  }
  return read_store_id(directory);
}

void write_meta(SQLite::Database& db, const std::string& store_id, const Sealer& sealer,
                Instant now) {
  SQLite::Statement insert(db, "INSERT INTO meta (key, value) VALUES (?, ?)");
  const auto put = [&](const char* key, auto bind) {
    insert.reset();
    insert.bind(1, key);
    bind();
    insert.exec();
  };
  const KeyId key = sealer.active();
  const Sealed check =
      sealer.seal(Secret::copy_of(kKeyCheckText), {store_id, "", kKeyCheckColumn, 0});
  put("store_id", [&] { insert.bind(2, store_id); });
  put("schema_version", [&] { insert.bind(2, kSchemaMajor); });
  put("schema_minor", [&] { insert.bind(2, kSchemaMinor); });
  put("key_id", [&] { insert.bind(2, key.data(), static_cast<int>(key.size())); });
  put("key_check", [&] { insert.bind(2, check.data(), static_cast<int>(check.size())); });
  put("created_at", [&] { insert.bind(2, to_millis(now)); });
}

Result<void> create_database(const fs::path& path, const std::string& store_id,
                             const Sealer& sealer, Instant now) {
  auto draft = begin_draft(path);
  if (!draft) return fail(std::move(draft.error()));
  try {
    build_database(draft->path(), store_id, sealer, now);
  } catch (BackendError& error) {
    return fail(std::move(error.error));
  }
  if (auto finished = draft->finish(); !finished) return finished;
  return draft->replace();
}

Result<void> prepare_directories(const fs::path& named, const StoreFiles& files) {
  // Before, too: nothing is left in a place that is refused.
  if (auto ok = check_places(named, files); !ok) return ok;
  if (auto ok = make_private_directories(files.directory); !ok) return ok;
  if (auto ok = check_places(named, files); !ok) return ok;
  const auto gate = create_durable(files.directory / "gate", Secret());
  if (!gate) return fail(gate.error());
  return {};
}

// A new store's own key: drawn on top of those that other stores have in the same file. Where the
// file cannot be written, its newest key serves.
Result<Sealer> first_sealer(const fs::path& key_file, const std::string& store_id) {
  if (!is_there(key_file)) {
    if (auto made = Sealer::create(key_file, store_id); !made) return fail(made.error());
  }
  auto keys = read_keys(key_file);
  if (!keys) return fail(keys.error());
  const std::string& owner = keys->front().store_id;
  if (!owner.empty() && owner != store_id) (void)add_key(key_file, store_id, kCreateWait);
  auto sealer = Sealer::load(key_file);
  if (sealer) sealer->activate(newest_key_for(sealer->keys(), store_id));
  return sealer;
}

Result<void> create_store(const fs::path& named, const StoreFiles& files, const fs::path& key_file,
                          Instant now) {
  const fs::path& path = files.database;
  const fs::path& directory = files.directory;
  if (auto ok = prepare_directories(named, files); !ok) return ok;
  const auto gate = FileLock::acquire(directory / "gate", kCreateWait);
  if (!gate) return fail(gate.error());
  if (!*gate) return fail(Errc::busy, "another process is creating " + path.string(), "Try again.");
  if (is_there(path)) return {};  // it was faster
  sync_upwards(path.parent_path());
  const auto store_id = claim_store_id(directory);
  if (!store_id) return fail(store_id.error());
  auto sealer = first_sealer(key_file, *store_id);
  sync_upwards(key_file.parent_path());
  if (auto synced = sync_directory(directory); !synced) return synced;
  if (!sealer) return fail(sealer.error());
  return create_database(path, *store_id, *sealer, now);
}

Error no_home() {
  return {Errc::refused,
          "there is no place for a store: HOME is not set to an absolute path, and user " +
              std::to_string(::geteuid()) + " has no home directory",
          "Set HOME; or name the store with --store (or AUTHDB_STORE), and its key with "
          "AUTHDB_KEY_FILE."};
}

Error no_store(const fs::path& path) {
  return {
      Errc::not_found, "there is no store at " + path.string(),
      "Create one: `authdb migrate` imports the auth.json files you have, `authdb login PROVIDER` "
      "starts with a login, `authdb add PROVIDER` with a key."};
}

}  // namespace

void build_database(const fs::path& path, const std::string& store_id, const Sealer& sealer,
                    Instant now) {
  try {
    SQLite::Database db(path.string(), SQLite::OPEN_READWRITE);
    db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");
    SQLite::Transaction txn(db);
    db.exec("PRAGMA application_id = " + std::to_string(kApplicationId));
    db.exec("PRAGMA user_version = " + std::to_string(kSchemaMajor));
    for (const char* step : kSchemaSteps) db.exec(step);
    write_meta(db, store_id, sealer, now);
    txn.commit();
    // All of it into the one file that gets its name: closing would try, and not say if it failed.
    db.exec("PRAGMA wal_checkpoint(TRUNCATE)");
  } catch (const SQLite::Exception& error) {
    throw_backend_error(error, "cannot create", path, errno);
  }
}

Result<std::optional<StoreFiles>> journalled_files(const fs::path& path) {
  const fs::path directory = beside(resolved_path(path), ".d");
  const auto journals = has_journals(directory);
  if (!journals) return fail(journals.error());
  if (!*journals || !is_there(directory / "store")) return std::nullopt;
  const auto id = read_store_id(directory);
  if (!id) return fail(id.error());
  auto files = files_to_restore(path, *id);
  if (!files) return fail(std::move(files.error()));
  return std::move(*files);
}

Result<std::optional<StoreFiles>> lost_directory(const fs::path& path) {
  StoreFiles files{resolved_path(path), {}, {}};
  files.directory = beside(files.database, ".d");
  if (!is_there(files.database) || is_there(files.directory / "store")) return std::nullopt;
  if (auto ok = check_private(files.database); !ok) return fail(ok.error());
  if (auto ok = check_links(files.database); !ok) return fail(ok.error());
  if (auto ok = prepare_directories(path, files); !ok) return fail(ok.error());
  return files;
}

Result<StoreFiles> open_files(const fs::path& path, const fs::path& key_file, OpenMode mode,
                              Instant now) {
  if (sodium_init() < 0) return fail(Errc::unexpected, "libsodium cannot be initialised");
  if (path.empty()) return fail(no_home());
  StoreFiles files{resolved_path(path), {}, {}};
  files.directory = beside(files.database, ".d");
  if (!is_there(files.database)) {
    const auto journals = has_journals(files.directory);
    if (!journals) return fail(journals.error());
    if (*journals) {
      return fail(Errc::refused,
                  files.database.string() + " is missing, but its journals are still in " +
                      files.directory.string(),
                  "They hold the newest tokens, and a new store beside them would lose them. "
                  "`authdb restore FILE` makes auth.db anew from a backup and from them; without "
                  "any backup `authdb doctor --repair` does, from them alone.");
    }
    if (is_there(beside(files.database, "-wal"))) {
      return fail(
          Errc::refused,
          files.database.string() + " is missing, but its log auth.db-wal is still there",
          "It holds the newest changes, and would be replayed into a new store. Put auth.db "
          "back beside it, or move the log away.");
    }
    if (mode != OpenMode::create) return fail(no_store(files.database));
    if (auto made = create_store(path, files, key_file, now); !made) {
      return fail(made.error());
    }
  }
  if (auto ok = check_existing(path, files); !ok) return fail(ok.error());
  auto id = read_store_id(files.directory);
  if (!id) return fail(id.error());
  files.store_id = std::move(*id);
  return files;
}

Result<StoreFiles> files_to_restore(const fs::path& path, const std::string& store_id) {
  if (sodium_init() < 0) return fail(Errc::unexpected, "libsodium cannot be initialised");
  if (path.empty()) return fail(no_home());
  StoreFiles files{resolved_path(path), {}, store_id};
  files.directory = beside(files.database, ".d");
  if (is_there(files.database)) {
    if (auto ok = check_existing(path, files); !ok) return fail(ok.error());
  } else if (auto ok = prepare_directories(path, files); !ok) {
    return fail(ok.error());
  } else if (!is_there(files.directory / "store")) {
    const auto made = create_durable(files.directory / "store", Secret::copy_of(store_id + "\n"));
    if (!made) return fail(made.error());
  }
  const auto id = read_store_id(files.directory);
  if (!id) return fail(id.error());
  if (*id == store_id) return files;
  return fail(Errc::refused,
              "the backup is of store " + store_id + ", and " + files.directory.string() +
                  " is of store " + *id,
              "Name the store it belongs to with --store. Nothing has been changed.");
}

}  // namespace authdb::sqlite
