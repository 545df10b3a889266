#include "oauth/keep_fresh.h"

#include <algorithm>
#include <atomic>
#include <thread>

#include "oauth/serve.h"
#include "store/fingerprint.h"
#include "store/rotation.h"

namespace authdb::oauth {
namespace {

constexpr std::size_t kAtOnce = 4;
constexpr Milliseconds kLongestNap{300'000};  // what others add is seen no later
constexpr Milliseconds kFirstRetry{60'000};
constexpr Milliseconds kLastRetry{3'600'000};
constexpr Seconds kLead{300};  // of a provider that is not known any more

// The same for one grant whoever asks, and different for each: up to a tenth of the lead.
Milliseconds head_start(const Credential& row, Seconds lead) {
  const TokenHash hash = token_hash(row.uid + "|" + std::to_string(row.generation));
  const Milliseconds most = Milliseconds(lead) / 10;
  return most * hash[0] / 255;
}

bool may_be_sent(const Credential& row) {
  return row.identity.auth_type == AuthType::oauth && row.refresh_hash && row.hold == Hold::none &&
         row.health.status != Status::dead;
}

}  // namespace

KeepFresh::KeepFresh(Store store, BearerParts parts, std::string profile,
                     std::function<bool()> stop)
    : store_(std::move(store)),
      parts_(std::move(parts)),
      profile_(std::move(profile)),
      stop_(std::move(stop)) {}

std::optional<Instant> KeepFresh::due_at(const Credential& row, Seconds lead) {
  if (!row.expires_at) return std::nullopt;
  const Instant due = *row.expires_at - lead - head_start(row, lead);
  if (row.origin == Origin::import || !row.obtained_at) return due;
  return std::max(due, *row.obtained_at + (*row.expires_at - *row.obtained_at) / 2);
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
        longest, provider.lead + Milliseconds(provider.lead) / 10 - provider.skew);
  }
  return longest;
}

std::optional<Instant> KeepFresh::turn_of(const Credential& row) const {
  if (!may_be_sent(row)) return std::nullopt;
  const auto due = due_at(row, lead_of(row));
  const auto failure = failures_.find(row.uid);
  if (!due || failure == failures_.end() || failure->second.generation != row.generation) {
    return due;
  }
  return std::max(*due, failure->second.not_before);
}

Renewal KeepFresh::renew(const Credential& row) const {
  Renewal renewal{row, std::nullopt, {}, {}};
  const auto users = store_.profiles_of(row.uid);
  RotateRequest request;
  request.profile = !profile_.empty()          ? profile_
                    : users && !users->empty() ? users->front()
                                               : "default";
  request.force = true;
  request.seen_generation = row.generation;  // whoever was faster has done it
  auto rotated = rotate(store_, row.uid, request);
  if (rotated) {
    renewal.now = std::move(rotated->held.row);
    renewal.warning = std::move(rotated->warning);
    return renewal;
  }
  renewal.error = std::move(rotated.error());
  if (renewal.error.code == Errc::login_needed) {
    renewal.error.hint = login_hint(parts_, row.identity.provider);
  }
  return renewal;
}

void KeepFresh::remember(const Renewal& renewal) {
  if (renewal.now) {
    failures_.erase(renewal.row.uid);
    return;
  }
  Failure& failure = failures_[renewal.row.uid];
  if (failure.generation != renewal.row.generation) failure = {renewal.row.generation, 0, {}};
  const Milliseconds pause = std::min(kLastRetry, kFirstRetry * (1 << std::min(failure.count, 6)));
  failure.count += 1;
  failure.not_before = store_.now() + pause;
}

Result<FreshPass> KeepFresh::pass() {
  const Instant now = store_.now();
  FreshPass out;
  out.next_at = now + kLongestNap;
  const auto soon = store_.list({{}, profile_, false, out.next_at + longest_head_start()});
  if (!soon) return fail(soon.error());
  for (const Credential& row : *soon) {
    const auto turn = turn_of(row);
    if (turn && *turn <= now) out.renewals.push_back({row, std::nullopt, {}, {}});
    if (turn && *turn > now) out.next_at = std::min(out.next_at, *turn);
  }

  std::atomic<std::size_t> next{0};
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < std::min(kAtOnce, out.renewals.size()); ++i) {
    threads.emplace_back([&] {
      for (std::size_t at = next++; at < out.renewals.size(); at = next++) {
        if (stop_ && stop_()) return;
        out.renewals[at] = renew(out.renewals[at].row);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::erase_if(out.renewals, [](const Renewal& one) {  // those that `stop` kept from their turn
    return !one.now && one.error.message.empty();
  });
  for (const Renewal& renewal : out.renewals) {
    remember(renewal);
    const auto turn = renewal.now ? turn_of(*renewal.now) : turn_of(renewal.row);
    if (turn) out.next_at = std::min(out.next_at, *turn);
  }
  return out;
}

}  // namespace authdb::oauth
