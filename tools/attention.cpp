#include "tools/attention.h"

#include <algorithm>

#include "store/timestamp.h"
#include "tools/render/text.h"

namespace authdb::cli {
namespace {

std::string held_since(const NamedRow& row) {
  const auto losses = row.number("losses").value_or(0);
  if (losses == 0) return {};
  std::string text =
      " since " + row.text("lost_at") + ", when " + printable(row.text("lost_process")) + " (pid " +
      std::to_string(row.number("lost_pid").value_or(0)) + ") sent its refresh token";
  if (losses > 1) text += ", one of " + std::to_string(losses) + " times,";
  return text;
}

// A hold for an answer to another account leaves no refresh token; one for copies that disagree
// does.
bool answer_was_anothers(const Store& store, const NamedRow& row) {
  const auto found = store.find(row.text("uid"));
  return found && found->hold == Hold::conflict && !found->refresh_hash;
}

std::string explain_hold(const Store& store, const NamedRow& row) {
  const auto target = row.text("provider") + " " + row.text("uid");
  const auto hold = row.text("hold");
  if (hold == "uncertain") {
    const auto since = held_since(row);
    return name_of(row) + " is uncertain" +
           (since.empty() ? ": its journal was lost, damaged or put back"
                          : since + " and no answer came") +
           ". It is sent again when no bearer of it works any more; `authdb "
           "refresh " +
           target + " --replay` sends it now.";
  }
  if (answer_was_anothers(store, row)) {
    return name_of(row) +
           " is held: an answer to its refresh was for another account, and its refresh token is "
           "spent. Log in again: `authdb login " +
           row.text("provider") + "`.";
  }
  if (hold == "conflict") {
    return name_of(row) +
           " is in conflict: its copies disagree about which pair is live. Decide with `authdb "
           "migrate --prefer PATH`.";
  }
  return name_of(row) +
         " is handed over: another tool spends its refresh token. `authdb migrate` "
         "takes it back.";
}

bool is_keyed(const NamedRow& row) { return row.text("bearer_kind") == "agent_key"; }

// That it has run out is nothing by itself: it is replaced when somebody asks for it.
bool bearer_is_over(const NamedRow& row) {
  if (!is_keyed(row)) return row.text("state") == "expired";
  const auto key = row.text("agent_key_state");
  return key != "fresh" && key != "expiring";
}

bool renewal_fails(const NamedRow& row) {
  if (row.number("failures").value_or(0) > 0) return true;
  // Only the ledger knows how it went when an agent key was asked for.
  const auto last = row.text("last_outcome");
  return is_keyed(row) && (last == "rejected" || last == "not_sent" || last == "uncertain");
}

// Sources that still hold a refresh token of ours: their owner may spend it (DESIGN 8).
void add_second_spenders(const Store& store, const migrate::UsableAddress& usable,
                         std::vector<Finding>& findings) {
  const auto receipts = store.receipts();
  if (!receipts || receipts->empty()) return;
  migrate::MigrateOptions sources;
  sources.usable = usable;
  for (const auto& receipt : *receipts) {
    std::error_code ignored;
    const std::filesystem::path path(receipt.path);
    const bool known =
        std::find(sources.paths.begin(), sources.paths.end(), path) != sources.paths.end();
    if (!known && std::filesystem::exists(path, ignored)) sources.paths.push_back(path);
  }
  if (sources.paths.empty()) return;
  const auto documents = migrate::read_sources(sources);
  if (!documents) return;
  const auto plan = migrate::plan(*documents, &store, sources);
  if (!plan) return;  // without the key there is nothing to compare with
  for (const auto& warning : plan->warnings) {
    if (warning.code == "second_spender" || warning.code == "logged_in_again") {
      findings.push_back(
          {warning.code, Severity::attention, printable(warning.message), {}, false});
    }
  }
}

}  // namespace

std::string Outages::of(const NamedRow& row) const {
  if (row.truth("needs_login") || row.text("hold") == "handed_over") return {};
  const bool rejected = row.truth("rejected");
  const bool over = rejected || bearer_is_over(row);
  if (row.truth("refreshable") && (over || few_)) {
    if (auto trouble = examine_journal(store_, row.text("uid"))) {
      return name_of(row) + (over ? " has no bearer that works: " : " cannot be renewed: ") +
             printable(trouble->message) + ". " + printable(trouble->hint);
    }
  }
  if (!over) return {};
  if (!row.text("hold").empty()) return explain_hold(store_, row);
  if (row.truth("refreshable") && registry_().find_oauth(row.text("provider")) == nullptr) {
    return name_of(row) + " has no bearer that works, and no provider \"" +
           printable(row.text("provider")) +
           "\" is known here that could renew it: put its file back into providers.d, or log in "
           "with the tool that owns it, then `authdb migrate`.";
  }
  const auto target = row.text("provider") + " " + row.text("uid");
  if (!rejected && !renewal_fails(row)) return {};
  std::string text = name_of(row) + " has no bearer that works: ";
  text += rejected ? "the one it has was rejected and not replaced" : "the last one has expired";
  if (const auto since = row.text("failing_since"); !since.empty()) {
    text += ", and its renewal has been failing since " + since;
  } else if (renewal_fails(row)) {
    text += ", and its renewal failed at " + row.text("last_attempt_at");
  }
  return text + ". `authdb log " + target + "` says why, `authdb refresh " + target +
         "` tries it now.";
}

std::vector<Finding> attention(const Store& store, const QueryRows& rows, Instant now,
                               const Registry& registry, const migrate::UsableAddress& usable) {
  std::vector<Finding> findings;
  const Outages outages(store, registry, rows.rows.size());
  const auto find = [&](const char* code, Severity severity, std::string message) {
    findings.push_back({code, severity, std::move(message), {}, false});
  };
  for (std::size_t i = 0; i < rows.rows.size(); ++i) {
    const NamedRow row(rows, i);
    if (auto warning = login_warning(row, now); !warning.empty()) {
      const bool needed = row.truth("needs_login");
      find(needed ? "needs_login" : "session_ends", needed ? Severity::login : Severity::attention,
           std::move(warning));
    }
    const auto hold = row.text("hold");
    if (hold.empty()) {
      if (auto text = outages.of(row); !text.empty()) {
        find("outage", Severity::attention, std::move(text));
      }
      continue;
    }
    const bool ours = hold != "handed_over";  // which is as somebody wanted it
    find("hold", ours ? Severity::attention : Severity::note, explain_hold(store, row));
  }
  add_second_spenders(store, usable, findings);
  return findings;
}

}  // namespace authdb::cli
