#include "migrate/report.h"

#include <algorithm>
#include <set>

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
    source.skipped.push_back(
        {bad.where, bad.field.empty() ? bad.reason : bad.field + " " + bad.reason});
  }
  return source;
}

void count(const Premises& premises, Draft& draft, std::size_t i) {
  const Copy& copy = premises.copies[i];
  SourceReport& source = draft.plan.sources[copy.document];
  switch (draft.fates[i]) {
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
      source.skipped.push_back({copy.row->where, draft.why_skipped[i]});
      break;
  }
}

ImportReceipt receipt(const Document& document, const SourceReport& source) {
  return {document.path.string(),  document.sha256, document.format,
          document.profile,        source.rows,     source.imported,
          document.unknown.clone()};
}

bool is_grant(const Premises& premises, const Settled& settled) {
  return std::any_of(settled.family->begin(), settled.family->end(), [&](auto i) {
    const Copy& copy = premises.copies[i];
    return !copy.reference && copy.row->identity.auth_type == AuthType::oauth;
  });
}

void warn_of_second_spenders(const Premises& premises, Plan& plan, const Settled& settled) {
  if (!settled.current) return;
  std::set<std::string> paths;
  for (const auto i : *settled.family) {
    const std::string path = premises.path_of(i).string();
    if (premises.copies[i].refresh != settled.current || !paths.insert(path).second) continue;
    plan.warnings.push_back(
        {"second_spender",
         path + " still holds the refresh token of " + settled.decision.provider + " " +
             settled.decision.label + " (" + fingerprint(*settled.current) +
             "), which this store holds as well. Let only authdb refresh it: do not run the old "
             "tool's gateway on that file."});
  }
}

}  // namespace

void report(const Premises& premises, Draft& draft) {
  Plan& plan = draft.plan;
  for (const Document& document : premises.documents) {
    plan.sources.push_back(source_report(document));
  }
  for (std::size_t i = 0; i < premises.copies.size(); ++i) count(premises, draft, i);
  for (std::size_t d = 0; d < premises.documents.size(); ++d) {
    const Document& document = premises.documents[d];
    if (document.failure || premises.read_before[d]) continue;
    plan.change.receipts.push_back(receipt(document, plan.sources[d]));
  }
  for (const Settled& settled : draft.families) {
    warn_of_second_spenders(premises, plan, settled);
    ++plan.credentials;
    if (is_grant(premises, settled)) ++plan.families;
  }
  for (const Settled* settled : draft.conflicts) plan.conflicts.push_back(settled->decision);
  for (Settled& settled : draft.families) plan.decisions.push_back(std::move(settled.decision));
}

}  // namespace authdb::migrate
