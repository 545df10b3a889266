#include "migrate/plan/summary.h"

#include <algorithm>
#include <map>
#include <set>

#include "store/scrub.h"

namespace authdb::migrate {
namespace {

SourceReport source_report(const Document& document) {
  SourceReport source;
  source.path = document.path;
  source.sha256 = document.sha256;
  source.profile = document.profile;
  source.failure = document.failure;
  source.rows = static_cast<std::int64_t>(document.rows.size() + document.bad_rows.size());
  for (const BadRow& bad : document.bad_rows) {
    source.skipped.push_back({bad.where,
                              bad.field.empty() ? bad.reason : bad.field + " " + bad.reason,
                              bad.left_behind});
  }
  return source;
}

void count(const PlanInput& input, PlanBuilder& builder, std::size_t i) {
  const Copy& copy = input.copies[i];
  SourceReport& source = builder.plan.sources[copy.document];
  switch (builder.fates[i]) {
    case Fate::imported:
      ++source.imported;
      break;
    case Fate::merged:
      ++source.merged;
      break;
    case Fate::stale:
      ++source.stale;
      break;
    case Fate::skipped:
      source.skipped.push_back({copy.row->where, builder.why_skipped[i]});
      break;
  }
}

ImportReceipt receipt(const Document& document, const SourceReport& source) {
  return {document.path.string(),  document.sha256, document.format,
          document.profile,        source.rows,     source.imported,
          document.unknown.clone()};
}

bool is_grant(const PlanInput& input, const Settled& settled) {
  return std::any_of(settled.family->begin(), settled.family->end(), [&](auto i) {
    const Copy& copy = input.copies[i];
    return !copy.reference && copy.row->identity.auth_type == AuthType::oauth;
  });
}

// What a login is called where its token is not shown.
std::string name_of_login(const Settled& settled, const TokenHash& refresh) {
  return settled.decision.provider + " " + shortened(settled.decision.label, kShownLabel) + " (" +
         fingerprint(refresh) + ")";
}

// What is in the store and in a file as well: of providers that the store can renew, or of others.
std::map<std::string, std::string> shared_logins(const PlanInput& input, const PlanBuilder& builder,
                                                 bool renewable) {
  std::map<std::string, std::string> logins;  // by path
  for (const Settled& settled : builder.families) {
    if (!settled.current || input.providers.can_renew(settled.decision.provider) != renewable) {
      continue;
    }
    std::set<std::string> paths;
    for (const auto i : *settled.family) {
      const std::string path = input.path_of(i).string();
      if (input.copies[i].refresh != settled.current || !paths.insert(path).second) continue;
      std::string& list = logins[path];
      list += (list.empty() ? "" : ", ") + name_of_login(settled, *settled.current);
    }
  }
  return logins;
}

// True if whoever sends it ends the session that the store has now: the server has seen it once.
bool ends_the_session(const PlanInput& input, const Settled& settled, const TokenHash& refresh) {
  if (settled.existing == nullptr || settled.existing->removed_at) return false;
  if (settled.logged_in_again) return false;
  const auto retired = input.retired(refresh);
  // Presumed: an older copy than the one that was taken, and its tool has most likely sent it.
  const bool seen =
      retired && (retired->reason == Retirement::spent || retired->reason == Retirement::presumed);
  return seen && retired->uid == settled.existing->uid &&
         retired->family == settled.existing->family;
}

std::map<std::string, std::string> spent_logins(const PlanInput& input,
                                                const PlanBuilder& builder) {
  std::map<std::string, std::set<std::string>> logins;  // by path
  for (const Settled& settled : builder.families) {
    for (const auto i : *settled.family) {
      const auto& refresh = input.copies[i].refresh;
      if (!refresh || !input.providers.can_renew(settled.decision.provider)) continue;
      if (!ends_the_session(input, settled, *refresh)) continue;
      logins[input.path_of(i).string()].insert(name_of_login(settled, *refresh));
    }
  }
  std::map<std::string, std::string> lists;
  for (const auto& [path, names] : logins) {
    for (const auto& name : names) lists[path] += (lists[path].empty() ? "" : ", ") + name;
  }
  return lists;
}

// One for each file that has some, in the order of the documents: `PATH <before> LOGINS<after>`.
void warn_of_files(const PlanInput& input, PlanBuilder& builder, const char* code,
                   std::map<std::string, std::string> logins, const std::string& before,
                   const std::string& after) {
  for (const Document& document : input.documents) {
    const auto some = logins.extract(document.path.string());
    if (some.empty()) continue;
    builder.plan.warnings.push_back({code, some.key() + before + some.mapped() + after});
  }
}

void warn_of_second_spenders(const PlanInput& input, PlanBuilder& builder) {
  warn_of_files(input, builder, "second_spender", shared_logins(input, builder, true),
                " still holds refresh tokens that this store holds as well: ",
                ". Let only authdb refresh them: `authdb migrate --cutover` takes them out of it.");
}

void warn_of_spent_tokens(const PlanInput& input, PlanBuilder& builder) {
  warn_of_files(input, builder, "second_spender", spent_logins(input, builder),
                " holds an old refresh token of ",
                ", which is spent, or most likely is: the tool's next refresh ends the session. "
                "`authdb migrate --cutover` replaces it.");
}

void tell_what_stays(const PlanInput& input, PlanBuilder& builder) {
  warn_of_files(input, builder, "not_renewed", shared_logins(input, builder, false),
                " keeps its refresh token of ",
                ": no provider of that name is known here, so its tool goes on refreshing it, and "
                "the access token here is good until it ends. `authdb providers` shows those "
                "known.");
}

void warn_of_logins(PlanBuilder& builder) {
  for (const Settled& settled : builder.families) {
    if (!settled.logged_in_again) continue;
    builder.plan.warnings.push_back(
        {"logged_in_again", settled.decision.provider + " " + settled.decision.label + ": " +
                                settled.decision.reason +
                                ", and refreshes that login itself. `authdb migrate "
                                "--cutover` takes it over"});
  }
}

void warn_of_addresses(const PlanInput& input, PlanBuilder& builder) {
  for (const Document& document : input.documents) {
    for (const BadRow& note : document.notes) {
      builder.plan.warnings.push_back({"endpoint", document.path.string() + ": " + note.where +
                                                       " " + note.field + " " + note.reason});
    }
  }
}

void warn_of_insecure_tls(const PlanInput& input, PlanBuilder& builder) {
  for (const Document& document : input.documents) {
    const auto row = std::find_if(document.rows.begin(), document.rows.end(),
                                  [](const Row& one) { return one.insecure_tls; });
    if (row == document.rows.end()) continue;
    builder.plan.warnings.push_back(
        {"tls_insecure", document.path.string() + ": " + row->where +
                             " asks not to verify its servers' certificates (tls.insecure). "
                             "authdb always does; name the authority they are from with "
                             "AUTHDB_CA_FILE or tls.ca_bundle."});
  }
}

}  // namespace

void summarise(const PlanInput& input, PlanBuilder& builder) {
  Plan& plan = builder.plan;
  for (const Document& document : input.documents) {
    plan.sources.push_back(source_report(document));
  }
  for (std::size_t i = 0; i < input.copies.size(); ++i) count(input, builder, i);
  for (std::size_t d = 0; d < input.documents.size(); ++d) {
    const Document& document = input.documents[d];
    if (document.failure || input.read_before[d]) continue;
    plan.change.receipts.push_back(receipt(document, plan.sources[d]));
  }
  warn_of_second_spenders(input, builder);
  warn_of_spent_tokens(input, builder);
  tell_what_stays(input, builder);
  warn_of_logins(builder);
  warn_of_addresses(input, builder);
  warn_of_insecure_tls(input, builder);
  for (const Settled& settled : builder.families) {
    ++plan.credentials;
    if (is_grant(input, settled)) ++plan.families;
  }
  for (const Settled* settled : builder.conflicts) plan.conflicts.push_back(settled->decision);
  for (Settled& settled : builder.families) plan.decisions.push_back(std::move(settled.decision));
}

}  // namespace authdb::migrate
