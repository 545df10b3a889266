// authdb undo: the credential that was removed last comes back.
#include <algorithm>

#include "oauth/login_hint.h"
#include "store/timestamp.h"
#include "tools/choice.h"
#include "tools/commands/commands.h"
#include "tools/render/json.h"
#include "tools/render/text.h"

namespace authdb::cli {
namespace {

constexpr std::string_view kManual =
    R"man(Takes back the credential that was removed last, or the one with this uid, with
the tokens and the profiles it had. Only within a day: then they may be wiped.

One whose session was ended at the provider comes back dead: its label, its
profiles and its history are there again, and `authdb login` gives it new tokens.

Exit codes
  0 done   3 nothing that can be taken back   6 busy   7 refused

Examples
  authdb undo
  authdb undo k3x7q2m5v4ta
)man";

bool can_come_back(const Credential& row, Instant now) {
  return row.removed_at && now - *row.removed_at < kUndoWindow;
}

Result<Credential> find_removed(const Store& store, const std::string& uid) {
  const auto all = store.list({.provider = {}, .profile = {}, .include_removed = true});
  if (!all) return fail(all.error());
  const Credential* last = nullptr;
  for (const Credential& row : *all) {
    if (!uid.empty() && row.uid != uid) continue;
    if (!can_come_back(row, store.now())) continue;
    if (last == nullptr || row.removed_at > last->removed_at) last = &row;
  }
  if (last != nullptr) return *last;
  return fail(Errc::not_found,
              uid.empty() ? "no credential was removed within the last day"
                          : "no credential " + in_quotes(uid) + " was removed within the last day",
              "Log in again, or import it: authdb migrate.");
}

Result<int> run(Context& context, const std::string& uid) {
  auto store = open_store(context, OpenMode::use);
  if (!store) return fail(store.error());
  const auto row = find_removed(*store, uid);
  if (!row) return fail(row.error());

  CredentialChange back;
  back.uid = row->uid;
  back.planned_against = row->generation;
  back.restore = true;
  Change change;
  change.credentials.push_back(std::move(back));
  const auto applied = store->apply(change);
  if (!applied) return fail(applied.error());
  if (applied->stale_plan) return fail(Errc::busy, "somebody else has just taken it back");

  const auto profiles = store->profiles_of(row->uid);
  if (!profiles) return fail(profiles.error());
  const bool dead = row->health.status == Status::dead;
  if (context.globals.json) {
    print_json(context.out, {{"restored", row->uid},
                             {"provider", row->identity.provider},
                             {"label", row->identity.label},
                             {"profiles", *profiles},
                             {"status", dead ? "dead" : "ok"}});
    return kOk;
  }
  context.out << "Took back " << described({*row}) << '\n';
  if (!profiles->empty()) context.out << "It is used by: " << joined(*profiles) << '\n';
  if (dead) {
    context.warn("its session is gone" + (row->health.error_message.empty()
                                              ? std::string()
                                              : " (" + row->health.error_message + ")"));
    context.note("Log in again: " + oauth::way_to_log_in(context.registry(), row->identity.provider,
                                                         row->identity.label, *profiles));
  }
  return kOk;
}

Run declare(Arguments& arguments) {
  auto uid = std::make_shared<std::string>();
  arguments.positional("UID", *uid, "which one; else the last", Need::optional);
  return [uid](Context& context) { return run(context, *uid); };
}

}  // namespace

const Command kUndo{"undo", Group::manage, "take back what was removed last", kManual, declare};

}  // namespace authdb::cli
