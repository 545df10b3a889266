#include "migrate/takeover/cutover.h"

#include <algorithm>
#include <array>
#include <ctime>
#include <set>

#include "migrate/formats/format.h"
#include "migrate/formats/json_edit.h"
#include "migrate/formats/json_text.h"
#include "migrate/source_file.h"
#include "migrate/takeover/projection.h"
#include "migrate/takeover/tool_lock.h"
#include "store/files.h"
#include "store/rotation.h"
#include "store/user_directories.h"
#include "store/words.h"

namespace authdb::migrate {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::vector<ToolFile> tool_files(const std::vector<Document>& documents) {
  std::vector<ToolFile> files;
  for (const Document& document : documents) {
    if (!document.failure) files.push_back({document.path, document.format});
  }
  return files;
}

// Before anything is imported: a file that keeps its refresh token is a second spender.
Result<void> check_all_replaceable(const std::vector<Document>& documents,
                                   const ProviderRules& providers) {
  for (const Document& document : documents) {
    const bool has_grant =
        std::any_of(document.rows.begin(), document.rows.end(), [&](const Row& row) {
          return !row.grant.refresh_token.empty() && providers.can_renew(row.identity.provider);
        });
    if (document.failure || !has_grant) continue;
    if (auto may = check_replaceable(real_path(document.path)); !may) return may;
  }
  return {};
}

std::vector<Running> users_of(const std::vector<Document>& documents) {
  const fs::path home = home_directory();
  std::set<fs::path> places;
  for (const Document& document : documents) {
    if (document.failure) continue;
    const fs::path path = real_path(document.path);
    // A home directory is no tool's: there only the file itself tells.
    const bool at_home = !home.empty() && path.parent_path() == real_path(home);
    places.insert(at_home ? path : path.parent_path());
  }
  return running_in({places.begin(), places.end()});
}

tl::unexpected<Error> still_running(const std::vector<Running>& running) {
  std::string list;
  for (const Running& process : running) {
    list += (list.empty() ? "" : ", ") + process.name + " (pid " + std::to_string(process.pid) +
            ", " + process.file + ")";
  }
  return fail(Errc::refused, "programs have these files open, and remember the tokens: " + list,
              "Stop them and cut over again; or use --running, and restart them right after.");
}

// `20260412T132000Z`
std::string stamp(Instant at) {
  const std::time_t seconds = to_millis(at) / 1000;
  std::tm utc{};
  ::gmtime_r(&seconds, &utc);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%Y%m%dT%H%M%SZ", &utc);
  return text.data();
}

// Never over something that is there.
Result<fs::path> keep(const fs::path& path, const Secret& bytes, Instant now) {
  const std::string name = path.string() + ".migrated-" + stamp(now);
  for (int n = 1;; ++n) {
    const fs::path kept = n == 1 ? name : name + "-" + std::to_string(n);
    const auto made = create_durable(kept, bytes);
    if (!made) return fail(made.error());
    if (*made) return kept;
  }
}

// One file on its way to a projection.
class Cutting {
 public:
  Cutting(Store& store, const ProviderRules& providers, const Owners& owners,
          const Document& document, const std::vector<Projection>& projections)
      : store_(store),
        providers_(providers),
        owners_(owners),
        document_(document),
        path_(real_path(document.path)) {
    for (const Projection& one : projections) {
      if (one.path == path_.string()) before_ = one.tokens;
    }
    done_.path = document.path;
    done_.profile = document.profile;
  }

  // nullopt: the file is not the one that was imported.
  Result<std::optional<CutFile>> run() {
    const auto bytes = read_source(path_);
    if (!bytes) return fail(bytes.error());
    if (bytes->sha256 != document_.sha256) return std::optional<CutFile>();
    auto tree = parse_json(bytes->text.reveal(), path_.string());
    if (!tree) return fail(std::move(tree.error()));
    auto projected = project(*tree);
    if (!projected) return fail(std::move(projected.error()));
    if (taken_away_ > 0) {
      auto kept = keep(path_, bytes->text, store_.now());
      if (!kept) return fail(std::move(kept.error()));
      done_.kept = std::move(*kept);
      done_.warning = note_of_privacy(path_);
    }
    const auto written = write(bytes->text, std::move(*tree));
    if (!written) return fail(written.error());
    if (*written) return std::optional(std::move(done_));
    std::error_code error;  // what it kept is imported, and was not replaced by us
    if (!done_.kept.empty()) fs::remove(done_.kept, error);
    return std::optional<CutFile>();
  }

 private:
  // Takes the refresh tokens that the store has taken over out of the tree.
  Result<void> project(json& tree) {
    for (GrantPlace& place : places_in(tree, document_.format)) {
      if (auto done = project(place); !done) return done;
    }
    return {};
  }

  Result<void> project(GrantPlace& place) {
    const bool has_refresh_token = !place.refresh_token().empty();
    if (!providers_.can_renew(place.provider())) {
      if (has_refresh_token) {
        leave_alone(place, "no provider \"" + place.provider() + "\" is known here");
      }
      return {};
    }
    auto owner = owners_.of_place(place);
    if (!owner) return fail(owner.error());
    const bool unknown = *owner == nullptr;
    if (unknown && !has_refresh_token && !place.access_token().empty()) owner = given_here(place);
    if (*owner == nullptr) {
      if (has_refresh_token) leave_alone(place, "the store has not taken its refresh token");
      return {};
    }
    const Credential& row = **owner;
    // Nothing to take, nothing to keep up to date: the store has no refresh token either.
    if (!has_refresh_token && !row.refresh_hash && !is_projected(place)) return {};
    if (row.hold == Hold::conflict || row.hold == Hold::handed_over) {
      if (has_refresh_token) leave_alone(place, "hold=" + std::string(word(row.hold)));
      return {};
    }
    auto held = store_.unseal(row.uid);
    if (!held) return fail(held.error());
    doubt_times(held->row, store_.now());
    if (held->access_token.empty()) {
      if (has_refresh_token) leave_alone(place, "there is no access token to put there");
      return {};
    }
    if (has_refresh_token) {
      if (auto kept = keep_beside_database(row); !kept) return kept;
    }
    taken_away_ += has_refresh_token || unknown ? 1 : 0;
    place.put(*held, false);
    tokens_.push_back({row.uid, place.place(), row.access_fingerprint});
    return {};
  }

  // The store is the only one who has the refresh token from now on: where its database is lost,
  // the journal has it.
  Result<void> keep_beside_database(const Credential& row) {
    if (row.renewal.revision > 0 || !row.refresh_hash) return {};
    auto locked = LockedCredential::acquire(store_, row.uid, {.wait = store_.lock_wait()});
    if (!locked) return fail(std::move(locked.error()));
    return locked->begin_journal();
  }

  // Whose place it is where an access token stands that nobody knows.
  const Credential* given_here(const GrantPlace& place) const {
    if (place.is_in_a_list()) return nullptr;
    for (const ProjectedToken& token : before_) {
      const Credential* row = token.place == place.place() ? owners_.at(token.credential) : nullptr;
      if (row != nullptr && row->identity.provider == place.provider()) return row;
    }
    return nullptr;
  }

  bool is_projected(const GrantPlace& place) const {
    return std::any_of(before_.begin(), before_.end(),
                       [&](const auto& token) { return token.place == place.place(); });
  }

  void leave_alone(const GrantPlace& place, const std::string& why) {
    done_.left_alone.push_back((place.place().empty() ? place.provider() : place.place()) +
                               " keeps its refresh token: " + why);
  }

  // A file without a grant of ours stays as it is, and is none of the store's business. False: it
  // changed after it was read.
  Result<bool> write(const Secret& was, json&& tree) {
    Projection projection{path_.string(), document_.format, document_.profile, {}, tokens_};
    if (tokens_.empty()) {
      wipe_strings(tree);
      if (before_.empty()) return true;
      if (auto dropped = store_.drop_projection(path_.string()); !dropped) {
        return fail(std::move(dropped.error()));
      }
      return true;
    }
    const Secret text = edited_text(was.reveal(), std::move(tree));
    return write_projection(store_, std::move(projection), before_, was, text);
  }

  Store& store_;
  const ProviderRules& providers_;
  const Owners& owners_;
  const Document& document_;
  fs::path path_;
  CutFile done_;
  int taken_away_ = 0;
  std::vector<ProjectedToken> before_;
  std::vector<ProjectedToken> tokens_;
};

// False: some file has changed since it was imported, and is still as its tool left it.
Result<bool> cut_files(Store& store, const ProviderRules& providers,
                       const std::vector<Document>& documents, std::vector<CutFile>& files) {
  const auto projections = store.projections();
  if (!projections) return fail(projections.error());
  std::vector<ProjectedToken> projected;
  for (const Projection& one : *projections) {
    projected.insert(projected.end(), one.tokens.begin(), one.tokens.end());
  }
  const auto owners = Owners::of(store, projected);
  if (!owners) return fail(owners.error());
  std::erase_if(files, [](const CutFile& file) { return file.kept.empty(); });  // of a pass before

  bool all = true;
  std::set<fs::path> seen;
  for (const Document& document : documents) {
    if (document.failure || !seen.insert(real_path(document.path)).second) continue;
    auto file = Cutting(store, providers, *owners, document, *projections).run();
    if (!file) return fail(std::move(file.error()));
    if (!*file) {
      all = false;
    } else if (!(*file)->kept.empty() || !(*file)->left_alone.empty()) {
      files.push_back(std::move(**file));
    }
  }
  return all;
}

}  // namespace

Result<CutOver> cut_over(Store& store, const CutOverOptions& options) {
  auto documents = read_sources(options.migrate);
  if (!documents) return fail(std::move(documents.error()));
  CutOver done;
  done.running = users_of(*documents);
  if (!done.running.empty() && !options.although_running) return still_running(done.running);
  const auto locks = lock_tools(tool_files(*documents), options.wait);
  if (!locks) return fail(locks.error());

  // Not every tool takes its own lock, so what was imported may be old already.
  for (int reading = 0; reading < kReadings; ++reading) {
    documents = read_sources(options.migrate);
    if (!documents) return fail(std::move(documents.error()));
    if (auto may = check_all_replaceable(*documents, options.migrate.providers); !may)
      return fail(std::move(may.error()));
    auto plan = apply(store, *documents, options.migrate);
    if (!plan) return fail(std::move(plan.error()));
    done.plan = std::move(*plan);
    const auto all = cut_files(store, options.migrate.providers, *documents, done.files);
    if (!all) return fail(all.error());
    if (*all) return done;
  }
  return fail(Errc::busy, "a source changed each time it was read",
              "What was read is imported; stop the program that writes it and cut over again.");
}

}  // namespace authdb::migrate
