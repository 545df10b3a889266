#include "tools/attention.h"

#include <algorithm>

#include "migrate/migrate.h"
#include "store/timestamp.h"
#include "tools/render/text.h"
#include "tools/sql_text.h"

namespace authdb::cli {
namespace {

std::string held_since(const Store& store, const NamedRow& credential) {
  const QueryRows lost = lost_answers(store, credential);
  if (lost.rows.empty()) return {};
  const NamedRow first(lost, 0);
  std::string text = " since " + first.text("at") + ", when " + printable(first.text("process")) +
                     " (pid " + std::to_string(first.number("pid").value_or(0)) +
                     ") sent its refresh token";
  if (lost.rows.size() > 1) {
    text += ", one of " + std::to_string(lost.rows.size()) + " times,";
  }
  return text;
}

std::string explain_hold(const Store& store, const NamedRow& row) {
  const auto target = row.text("provider") + " " + row.text("uid");
  const auto hold = row.text("hold");
  if (hold == "uncertain") {
    const auto since = held_since(store, row);
    return name_of(row) + " is uncertain" +
           (since.empty() ? ": its journal was lost, damaged or put back"
                          : since + " and no answer came") +
           ". It is sent again when no bearer of it works any more; `authdb "
           "refresh " +
           target + " --replay` sends it now.";
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

// Sources that still hold a refresh token of ours: their owner may spend it (DESIGN 8).
void add_second_spenders(const Store& store, std::vector<Finding>& findings) {
  const auto receipts = store.receipts();
  if (!receipts || receipts->empty()) return;
  migrate::MigrateOptions sources;
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
      findings.push_back({warning.code, Severity::attention, warning.message, {}, false});
    }
  }
}

}  // namespace

QueryRows lost_answers(const Store& store, const NamedRow& credential) {
  auto rows = store.query(
      "SELECT at, process, pid FROM rotation WHERE uid = " + sql_literal(credential.text("uid")) +
      " AND outcome = 'uncertain' AND kind = 'refresh' AND from_generation = " +
      std::to_string(credential.number("generation").value_or(0)) + " ORDER BY julianday(at)");
  return rows ? *std::move(rows) : QueryRows{};
}

std::vector<Finding> attention(const Store& store, const QueryRows& rows, Instant now) {
  std::vector<Finding> findings;
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
    if (hold.empty()) continue;
    const bool ours = hold != "handed_over";  // which is as somebody wanted it
    find("hold", ours ? Severity::attention : Severity::note, explain_hold(store, row));
  }
  add_second_spenders(store, findings);
  return findings;
}

}  // namespace authdb::cli
