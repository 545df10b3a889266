// authdb doctor: what is wrong with the store, and the mending of it.
#include "store/doctor.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <utility>

#include "migrate/newer_pair.h"
#include "migrate/takeover/projection.h"
#include "store/draft.h"
#include "store/shell_word.h"
#include "tools/attention.h"
#include "tools/commands/commands.h"
#include "tools/provider_rules.h"
#include "tools/render/json.h"
#include "tools/render/text.h"

namespace authdb::cli {
namespace {

constexpr std::string_view kManual =
    R"man(Looks at everything that can go wrong with a store: permissions, owner and file
system, the database's integrity, that no current refresh token is a retired
one, every credential's journal, rescue files, leftovers, whether each seal key
that is needed is there, whether each sealed cell opens, what is held or needs a
login, whether another tool still holds a refresh token of ours, and what a
replacement of a tool's file that was cut off left beside it. It says one line for
each finding and one for what to do.

Looking never touches the network, never spends a token and never changes the
store. --repair does what needs no guess: settles answers that are in a journal,
takes the newer tokens of journals where an older database was put back, brings
back credentials that only their journals know, finishes a key rotation, and
removes leftovers and drafts. A damaged journal is kept under another name; what it
said is lost, so its credential is held as uncertain, never taken for unspent. So
are all where auth.db.d is lost, which is made anew. An auth.db that is lost or
cannot be opened is made anew from the journals: without API keys, profiles and
settings, which only `authdb restore FILE` has. Nothing is sent then either.

Exit codes
  0 nothing that needs you   3 no such store   4 something needs a login
  5 something needs attention   7 something is damaged or refused

Examples
  authdb doctor
  authdb doctor --repair --json
)man";

int rank(Severity severity) { return static_cast<int>(severity); }

std::string_view word_of(Severity severity) {
  switch (severity) {
    case Severity::note:
      return "note";
    case Severity::attention:
      return "attention";
    case Severity::login:
      return "login";
    case Severity::damage:
      return "damage";
  }
  return {};
}

int exit_status(const std::vector<Finding>& findings) {
  int worst = rank(Severity::note);
  for (const Finding& finding : findings) {
    if (finding.code == "open" && finding.severity == Severity::note) {
      return exit_code(Errc::not_found);
    }
    if (!finding.repaired) worst = std::max(worst, rank(finding.severity));
  }
  if (worst == rank(Severity::damage)) return exit_code(Errc::refused);
  if (worst == rank(Severity::login)) return exit_code(Errc::login_needed);
  return worst == rank(Severity::attention) ? exit_code(Errc::try_later) : kOk;
}

// The files of other tools that the store has read or written.
std::set<std::filesystem::path> known_files(const Store& store) {
  std::set<std::filesystem::path> files;
  std::error_code error;
  const auto add = [&](const std::string& path) {
    files.insert(std::filesystem::weakly_canonical(path, error));
  };
  if (const auto projections = store.projections()) {
    for (const auto& one : *projections) add(one.path);
  }
  if (const auto receipts = store.receipts()) {
    for (const auto& one : *receipts) add(one.path);
  }
  return files;
}

Finding about_remains(const std::filesystem::path& file, const Remains& left) {
  const std::string path = left.path.string();
  if (left.came_out) {
    return {"displaced", Severity::attention,
            path + " was in the place of " + file.string() +
                " when its replacement was cut off, and may be the only copy of a login",
            "`authdb migrate " + shell_quoted(path) + "` imports what is in it. Then delete it.",
            false};
  }
  return {"draft", Severity::attention,
          path + " is a draft of " + file.string() +
              " that a killed process left; it may have a live token in it",
          "`authdb doctor --repair` removes it, and so does the next replacement.", false};
}

// What killed processes left beside the tools' files. Drafts go, what came out of its place stays.
void add_remains(Context& context, bool mend, std::vector<Finding>& findings) {
  const auto store = open_store(context, OpenMode::look);
  if (!store) return;
  for (const auto& file : known_files(*store)) {
    auto remains = remains_beside(file);
    if (mend && !remains.empty()) {
      if (const auto draft = Draft::make(file)) draft->remove_abandoned();
      for (const Remains& before : std::exchange(remains, remains_beside(file))) {
        std::error_code error;
        if (before.came_out || std::filesystem::exists(before.path, error)) continue;
        findings.push_back({"draft", Severity::note, "removed " + before.path.string(), {}, true});
      }
    }
    for (const Remains& left : remains) findings.push_back(about_remains(file, left));
  }
}

// What the files of other tools say of the store's logins.
void add_files(Context& context, const Store& store, std::vector<Finding>& findings) {
  const auto newer = migrate::newer_pairs(store, provider_rules(context));
  const auto forgotten = migrate::forgotten_projections(store);
  if (!newer || !forgotten) return;  // the key, which is found already
  for (const auto& [uid, path, reason] : *newer) {
    const auto row = store.find(uid);
    findings.push_back({"newer_pair", Severity::attention,
                        path + " has a newer pair of " + (row ? row->identity.provider : "") +
                            " credential " + uid + " than this store (" + reason + ")",
                        "It is taken before the next refresh; `authdb migrate " +
                            shell_quoted(path) + "` takes it now.",
                        false});
  }
  for (const std::string& path : *forgotten) {
    findings.push_back({"projection_forgotten", Severity::attention,
                        path + " is not kept up to date any more: this store knows of no cut-over "
                               "of it",
                        "`authdb migrate --cutover " + shell_quoted(path) + "` does it again.",
                        false});
  }
}

// What the credentials themselves need, where the store can be opened at all.
void add_credentials(Context& context, std::vector<Finding>& findings) {
  const auto store = open_store(context, OpenMode::look);
  if (!store) return;  // found already
  const auto rows = store->query("SELECT * FROM freshness ORDER BY provider, label, uid");
  if (!rows) return;
  auto found =
      attention(*store, *rows, context.clock(), providers_of(context), provider_rules(context));
  std::move(found.begin(), found.end(), std::back_inserter(findings));
  add_files(context, *store, findings);
}

Json to_json(const std::vector<Finding>& findings) {
  auto json = Json::array();
  for (const Finding& finding : findings) {
    json.push_back({{"code", finding.code},
                    {"severity", word_of(finding.severity)},
                    {"message", finding.message},
                    {"hint", or_null(finding.hint)},
                    {"repaired", finding.repaired}});
  }
  return json;
}

Tone tone_of(const Finding& finding) {
  if (finding.repaired) return Tone::good;
  if (finding.severity == Severity::note) return Tone::faint;
  return finding.severity == Severity::attention ? Tone::caution : Tone::bad;
}

void print(Context& context, const std::vector<Finding>& findings) {
  for (const Finding& finding : findings) {
    const std::string what(finding.repaired ? "mended" : word_of(finding.severity));
    context.out << toned(what, tone_of(finding), context.colour()) << ": "
                << printable(finding.message) << '\n';
    if (!finding.hint.empty()) context.out << "  " << printable(finding.hint) << '\n';
  }
  if (findings.empty()) context.out << "Nothing is wrong with the store\n";
}

Result<int> run(Context& context, bool mend) {
  const StoreOptions options = store_options(context);
  auto findings = mend ? repair(options) : examine(options);
  add_credentials(context, findings);
  add_remains(context, mend, findings);
  if (context.globals.json) {
    print_json(context.out, to_json(findings));
  } else {
    print(context, findings);
  }
  return exit_status(findings);
}

Run declare(Arguments& arguments) {
  auto mend = std::make_shared<bool>(false);
  arguments.flag("--repair", *mend, "mend what can be mended without a guess");
  return [mend](Context& context) { return run(context, *mend); };
}

}  // namespace

const Command kDoctor{"doctor", Group::keep, "what is wrong with the store, and the mending of it",
                      kManual, declare};

}  // namespace authdb::cli
