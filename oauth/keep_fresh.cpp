#include "oauth/keep_fresh.h"

#include <algorithm>
#include <atomic>
#include <thread>

#include "oauth/login_hint.h"
#include "store/clock_slack.h"
#include "store/fingerprint.h"
#include "store/rotation.h"
#include "store/scrub.h"
#include "store/timestamp.h"

namespace authdb::oauth {
namespace {

constexpr std::size_t kAtOnce = 4;
constexpr Milliseconds kLongestNap{300'000};  // what others add is seen no later
constexpr Milliseconds kFirstRetry{60'000};
constexpr Milliseconds kLastRetry{3'600'000};
constexpr Seconds kLead{300};  // of a provider that is not known any more

// Little beside the lead, and yet half a minute of the usual one of five.
Milliseconds most_head_start(Seconds lead) { return Milliseconds(lead) / 10; }

// Not drawn but hashed: a timer that runs each minute would draw again each time, and with each
// draw come closer to the earliest.
Milliseconds head_start(const Credential& row, Seconds lead) {
  const TokenHash hash = token_hash(row.uid + "|" + std::to_string(row.generation));
  return most_head_start(lead) * (hash[0] << 8 | hash[1]) / 0xffff;
}

bool may_be_sent(const Credential& row) {
  return row.identity.auth_type == AuthType::oauth && row.refresh_hash && row.hold == Hold::none &&
         row.health.status != Status::dead;
}

std::string name_of(const Credential& row) {
  return row.identity.provider + " \"" + shortened(row.identity.label, kShownLabel) + "\" (" +
         row.uid + ")";
}

Error ended(const Credential& row) {
  return {Errc::login_needed, "the login of " + name_of(row) + " has ended", ""};
}

// Says so in `renewal` if the token endpoint of `row` rests.
void let_rest(Renewal& renewal, const Credential& row, Instant now) {
  renewal.rests_until = rests_until(row.renewal, now);
  if (!renewal.rests_until) return;
  const int failures = row.renewal.failures;
  std::string message = name_of(row) + " is not refreshed before " +
                        format_iso(*renewal.rests_until) + ": its last attempt failed";
  if (failures > 1) message += " (" + std::to_string(failures) + " in a row)";
  if (row.expires_at && *row.expires_at <= now) {
    message += " and its access token has expired";
  }
  message += "; its token endpoint is left alone until then";
  renewal.error = {Errc::try_later, std::move(message), "`authdb refresh` asks it all the same."};
}

// The earliest that makes sense for a grant: a short one would be refreshed all the time.
Instant not_before_half_life(const Credential& row, Instant due) {
  if (row.origin == Origin::import || !row.obtained_at || !row.expires_at) return due;
  return std::max(due, *row.obtained_at + (*row.expires_at - *row.obtained_at) / 2);
}

}  // namespace

std::optional<Instant> KeepFresh::due_at(const Credential& row, Seconds lead) {
  if (!row.expires_at) return std::nullopt;
  return not_before_half_life(row, *row.expires_at - lead - head_start(row, lead));
}

Seconds KeepFresh::lead_of(const Credential& row) const {
  const Provider* provider = parts_.registry().find(row.identity.provider);
  return provider == nullptr ? kLead : provider->lead;
}

// By how much the earliest turn can come before the `refresh_at` that the store has indexed.
Milliseconds KeepFresh::longest_head_start() const {
  Milliseconds longest{kLead};
  for (const Provider& provider : parts_.registry().all()) {
    longest = std::max<Milliseconds>(
        longest, provider.lead + most_head_start(provider.lead) - provider.skew);
  }
  return longest;
}

// What the store has indexed as due, and what is wanted.
Result<std::vector<Credential>> KeepFresh::candidates(Instant by, const Wanted& wanted) const {
  const Instant latest = by + longest_head_start();
  auto rows = store_.list({{}, options_.profile, false, latest});
  if (!rows) return rows;
  for (const auto& entry : wanted) {
    const auto is_it = [&](const Credential& row) { return row.uid == entry.first; };
    if (entry.second > latest || std::any_of(rows->begin(), rows->end(), is_it)) continue;
    if (auto row = store_.find(entry.first)) rows->push_back(*std::move(row));  // else: removed
  }
  return rows;
}

// `now` is the caller's: what is due at once must not be due after the time that it compares with.
std::optional<Instant> KeepFresh::turn_of(const Credential& row, const Wanted& wanted,
                                          Instant now) const {
  if (!may_be_sent(row)) return std::nullopt;
  const Seconds lead = lead_of(row);
  auto due = is_ahead(row.obtained_at, now) ? now : due_at(row, lead);
  if (const auto found = wanted.find(row.uid); found != wanted.end()) {
    const Instant earlier = not_before_half_life(row, found->second - head_start(row, lead));
    due = due ? std::min(*due, earlier) : earlier;
  }
  const auto failure = failures_.find(row.uid);
  if (!due || failure == failures_.end() || failure->second.generation != row.generation) {
    return due;
  }
  if (is_ahead(failure->second.at, now)) return due;
  return std::max(*due, failure->second.not_before);
}

// What the journal says under the lock counts: whoever had it before us may have rotated, failed,
// or heard that the login has ended.
void KeepFresh::rotate_unless_resting(Renewal& renewal) const {
  auto lock = LockedCredential::acquire(store_, renewal.row.uid,
                                        {.wait = store_.lock_wait(), .to_spend = true});
  if (!lock) {
    renewal.error = std::move(lock.error());
    return;
  }
  const Credential& current = lock->held().row;
  const bool moved = lock->recovered() || current.generation > renewal.row.generation;
  // Whatever moved: it may be a journal that says it to a database that was put back.
  if (current.health.status == Status::dead) renewal.error = ended(current);
  if (!moved && renewal.error.message.empty()) let_rest(renewal, current, store_.now());
  if (!renewal.error.message.empty()) return;

  RotateRequest request;
  request.profile = profile_for(current);
  request.force = true;
  request.seen_generation = renewal.row.generation;  // whoever was faster has done it
  auto rotated = lock->rotate(request);
  if (!rotated) {
    renewal.error = std::move(rotated.error());
    return;
  }
  renewal.now = std::move(rotated->held.row);
  renewal.warning = std::move(rotated->warning);
}

std::string KeepFresh::profile_for(const Credential& row) const {
  if (!options_.profile.empty()) return options_.profile;
  const auto users = store_.profiles_of(row.uid);
  return users && !users->empty() ? users->front() : "default";
}

Renewal KeepFresh::renew(const Credential& row) const {
  Renewal renewal;
  renewal.row = row;
  rotate_unless_resting(renewal);
  if (!renewal.now && renewal.error.code == Errc::login_needed) {
    renewal.error.hint = login_hint(parts_, store_, row);
  }
  return renewal;
}

void KeepFresh::remember(const Renewal& renewal) {
  if (renewal.now) failures_.erase(renewal.row.uid);
  if (renewal.now || renewal.rests_until) return;
  Failure& failure = failures_[renewal.row.uid];
  if (failure.generation != renewal.row.generation) failure = {renewal.row.generation, 0, {}, {}};
  const Milliseconds pause = std::min(kLastRetry, kFirstRetry * (1 << std::min(failure.count, 6)));
  failure.count += 1;
  failure.at = store_.now();
  failure.not_before = failure.at + pause;
}

void KeepFresh::renew_all(std::vector<Renewal>& renewals) const {
  std::atomic<std::size_t> next{0};
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < std::min(kAtOnce, renewals.size()); ++i) {
    threads.emplace_back([&] {
      for (std::size_t at = next++; at < renewals.size(); at = next++) {
        if (options_.stop && options_.stop()) return;
        renewals[at] = renew(renewals[at].row);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::erase_if(renewals, [](const Renewal& one) {  // those that `stop` kept from their turn
    return !one.now && one.error.message.empty();
  });
}

Result<FreshPass> KeepFresh::pass() {
  const Instant now = store_.now();
  FreshPass out;
  out.next_at = now + kLongestNap;
  Wanted wanted;
  if (options_.wanted) {
    auto asked = options_.wanted();
    if (!asked) return fail(asked.error());
    wanted = *std::move(asked);
  }
  const auto soon = candidates(out.next_at, wanted);
  if (!soon) return fail(soon.error());
  for (const Credential& row : *soon) {
    const auto turn = turn_of(row, wanted, now);
    if (turn && *turn <= now) out.renewals.emplace_back().row = row;
    if (turn && *turn > now) out.next_at = std::min(out.next_at, *turn);
  }
  renew_all(out.renewals);
  const Instant after = store_.now();
  for (const Renewal& renewal : out.renewals) {
    remember(renewal);
    // What was wanted of the old token is not wanted of the new one.
    auto turn =
        renewal.now ? turn_of(*renewal.now, {}, after) : turn_of(renewal.row, wanted, after);
    if (renewal.rests_until) turn = renewal.rests_until;
    if (turn) out.next_at = std::min(out.next_at, *turn);
  }
  return out;
}

}  // namespace authdb::oauth
