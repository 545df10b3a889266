#include "tools/attention.h"

#include <algorithm>

#include "migrate/takeover/hand_over.h"
#include "migrate/takeover/projection.h"
#include "oauth/authorities.h"
#include "oauth/endpoints.h"
#include "oauth/http_loader.h"
#include "oauth/renewable.h"
#include "store/shell_word.h"
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

std::string explain_hold(const Store& store, const NamedRow& row, const Registry& registry) {
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
           "spent. Log in again: " +
           way_to_log_in(row, registry()) + ".";
  }
  if (hold == "conflict") {
    return name_of(row) +
           " is in conflict: its copies disagree about which pair is live. Decide with `authdb "
           "migrate --prefer PATH`.";
  }
  const auto place = migrate::place_of_hand_over(store, row.text("uid"));
  const std::string name = name_of(row) + " is handed over: another tool spends its refresh token";
  if (place && !*place) {
    return name +
           ", and this store does not know any more from which file. `authdb migrate --prefer "
           "PATH` takes it back from the one that has it.";
  }
  return name + ". `authdb migrate` takes it back.";
}

// Empty unless it is handed over, and the file that it was given to has nothing to renew it with.
std::string nobody_renews(const Store& store, const NamedRow& row, const Registry& registry) {
  if (row.text("hold") != "handed_over") return {};
  const auto found = store.find(row.text("uid"));
  const auto file = found ? migrate::unfinished_hand_over(store, *found) : fail(found.error());
  if (!file || !*file) return {};
  const std::string path = (*file)->string();
  return name_of(row) + " is handed over to " + printable(path) +
         ", which has no refresh token: nobody renews it. `authdb export --hand-over -o " +
         printable(shell_quoted(path)) + "` finishes the hand-over. To begin anew, log in " +
         way_to_log_in(row, registry()) + ".";
}

bool is_keyed(const NamedRow& row) { return row.text("bearer_kind") == "agent_key"; }

// That it has run out is nothing by itself: it is replaced when somebody asks for it.
bool bearer_is_over(const NamedRow& row) {
  if (!is_keyed(row)) return row.text("state") == "expired";
  const auto key = row.text("agent_key_state");
  return key != "fresh" && key != "expiring";
}

// Why its bearer is of no use.
std::string why_over(const NamedRow& row, Instant now) {
  if (row.truth("rejected")) return "the one it has was rejected and not replaced";
  if (const auto at = obtained_ahead(row, now); !at.empty()) {
    return "the one it has was obtained by a clock that was ahead (" + at + ")";
  }
  if (!is_keyed(row)) return "the last one has expired";
  const auto key = row.text("agent_key_state");
  if (key.empty()) return "no agent key has been minted yet";
  return key == "unknown" ? "nobody knows when its agent key ends" : "the last one has expired";
}

bool renewal_fails(const NamedRow& row) {
  if (row.number("failures").value_or(0) > 0) return true;
  // Only the ledger knows how it went when an agent key was asked for.
  const auto last = row.text("last_outcome");
  return is_keyed(row) && (last == "rejected" || last == "not_sent" || last == "uncertain");
}

// Sources that still hold a refresh token of ours: their owner may spend it (DESIGN 8).
void add_second_spenders(const Store& store, const migrate::ProviderRules& rules,
                         std::vector<Finding>& findings) {
  const auto receipts = store.receipts();
  if (!receipts || receipts->empty()) return;
  migrate::MigrateOptions sources;
  sources.providers = rules;
  sources.leave_handed_over = true;  // the tool is the one spender then
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
  if (row.truth("needs_login")) return {};
  if (row.text("hold") == "handed_over") return nobody_renews(store_, row, providers_.registry);
  const bool rejected = row.truth("rejected");
  const bool ahead = !rejected && !obtained_ahead(row, now_).empty();
  const bool over = rejected || ahead || bearer_is_over(row);
  const std::string none =
      name_of(row) + " has no bearer that " + (ahead ? "is known to work" : "works");
  const bool is_key = row.text("auth_type") == "api_key";  // nobody would notice before its use
  if (is_key || (row.truth("refreshable") && (over || few_))) {
    if (auto trouble = examine_journal(store_, row.text("uid"))) {
      return (over || is_key ? none : name_of(row) + " cannot be renewed") + ": " +
             printable(trouble->message) + ". " + printable(trouble->hint);
    }
  }
  if (const auto found = obstacle(row, over)) {
    return (over ? none : name_of(row) + " cannot be renewed when its bearer ends") + ": " +
           printable(found->message) + ". " + printable(found->hint);
  }
  if (!over) return {};
  if (!row.text("hold").empty()) return explain_hold(store_, row, providers_.registry);
  const auto target = row.text("provider") + " " + row.text("uid");
  if (!rejected && !renewal_fails(row)) return {};
  std::string text = none + ": " + why_over(row, now_);
  if (const auto since = row.text("failing_since"); !since.empty()) {
    text += ", and its renewal has been failing since " + since;
  } else if (renewal_fails(row)) {
    text += ", and its renewal failed at " + row.text("last_attempt_at");
  }
  return text + ". `authdb log " + target + "` says why, `authdb refresh " + target +
         "` tries it now.";
}

// Of all logins alike: a store that can be written, and the module that sends.
const std::optional<Error>& Outages::no_way_out() const {
  if (no_way_out_) return *no_way_out_;
  no_way_out_.emplace();
  if (const auto found = examine_access(store_)) {
    *no_way_out_ = Error{Errc::refused, found->message, found->hint};
    return *no_way_out_;
  }
  if (!providers_.needs_module) return *no_way_out_;
  if (const auto missing = oauth::missing_http_module(); !missing.empty()) {
    *no_way_out_ = Error{Errc::unexpected, "the HTTP module cannot be loaded: " + missing,
                         "Install authdb again."};
  }
  return *no_way_out_;
}

std::optional<Error> Outages::distrust(const Identity& identity) const {
  const auto* provider = providers_.registry().find_oauth(identity.provider);
  if (provider == nullptr) return std::nullopt;
  const auto& environment = providers_.environment;
  const std::string file = oauth::ca_file_of(*provider, identity, environment).value;
  if (file.empty()) return std::nullopt;
  const auto known = ca_files_.find(file);
  if (known != ca_files_.end()) return known->second;
  return ca_files_[file] = oauth::unusable_ca_file(*provider, identity, environment);
}

std::optional<Identity> Outages::identity_of(const Uid& uid) const {
  if (!few_) {
    const auto found = store_.find(uid);
    return found ? std::optional(found->identity) : std::nullopt;
  }
  if (!identities_) {
    identities_.emplace();
    const auto rows = store_.list({});
    if (!rows) return std::nullopt;
    for (const Credential& row : *rows) identities_->emplace(row.uid, row.identity);
  }
  const auto found = identities_->find(uid);
  return found == identities_->end() ? std::nullopt : std::optional(found->second);
}

std::optional<Error> Outages::obstacle(const std::string& provider) const {
  if (no_way_out()) return no_way_out();
  const auto& registry = providers_.registry();
  if (auto found = oauth::obstacle_to_renewal(registry, provider, providers_.environment)) {
    return found;
  }
  Identity any;
  any.provider = provider;
  return distrust(any);
}

std::optional<Error> Outages::obstacle(const NamedRow& row, bool over) const {
  if (row.text("auth_type") != "oauth" || !row.truth("refreshable")) return std::nullopt;
  if (few_ || over) {
    if (no_way_out()) return no_way_out();
    if (const auto identity = identity_of(row.text("uid"))) {
      auto obstacle =
          oauth::obstacle_to_renewal(providers_.registry(), *identity, providers_.environment);
      return obstacle ? obstacle : distrust(*identity);
    }
  }
  return obstacle(row.text("provider"));
}

std::vector<Finding> attention(const Store& store, const QueryRows& rows, Instant now,
                               const Providers& providers, const migrate::ProviderRules& rules) {
  std::vector<Finding> findings;
  const Outages outages(store, providers, rows.rows.size(), now);
  const auto find = [&](const char* code, Severity severity, std::string message) {
    findings.push_back({code, severity, std::move(message), {}, false});
  };
  for (std::size_t i = 0; i < rows.rows.size(); ++i) {
    const NamedRow row(rows, i);
    if (profiles_of(row).empty()) {
      find("unbound", Severity::note,
           name_of(row) + " is in no profile's pool. `authdb profile bind PROFILE " +
               row.text("provider") + ' ' + row.text("uid") +
               "` lets one use it; `authdb profile add` makes one.");
    }
    if (auto warning = login_warning(row, now, providers.registry); !warning.empty()) {
      const bool needed = row.truth("needs_login");
      find(needed ? "needs_login" : "session_ends", needed ? Severity::login : Severity::attention,
           std::move(warning));
    }
    const auto hold = row.text("hold");
    if (hold.empty()) {
      if (auto text = outages.of(row); !text.empty()) {
        find("outage", Severity::attention, std::move(text));
      } else if (const auto at = obtained_ahead(row, now);
                 !at.empty() && row.truth("refreshable")) {
        find("clock_ahead", Severity::note,
             "The bearer of " + name_of(row) + " was obtained by a clock that was ahead (" + at +
                 "), so its age is unknown: it is renewed when somebody asks for it.");
      }
      continue;
    }
    if (auto text = nobody_renews(store, row, providers.registry); !text.empty()) {
      find("hand_over_unfinished", Severity::attention, std::move(text));
      continue;
    }
    const bool ours = hold != "handed_over";  // which is as somebody wanted it
    find("hold", ours ? Severity::attention : Severity::note,
         explain_hold(store, row, providers.registry));
  }
  add_second_spenders(store, rules, findings);
  if (const auto behind = migrate::projections_left_behind(store)) {
    for (const auto& text : *behind)
      find("projection_behind", Severity::attention, printable(text) + ".");
  }
  return findings;
}

}  // namespace authdb::cli
