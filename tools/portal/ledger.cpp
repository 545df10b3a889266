#include "tools/portal/ledger.h"

#include <algorithm>

namespace authdb::portal {
namespace {

constexpr std::size_t kKeptRequests = 100'000;

}  // namespace

std::unique_ptr<Ledger::Flight> Ledger::arrive(RequestRecord record,
                                               std::function<bool()> hung_up) {
  const std::lock_guard lock(mutex_);
  const auto number = ++last_number_;
  forget_hung_up();
  // A bearer names a family too, but only refresh tokens are counted in flight.
  const bool spends = !record.refresh_token.empty();
  airborne_[number] = {record.refresh_token, spends ? record.family : "", std::move(hung_up)};
  count_post(record);
  requests_.push_back(std::move(record));
  if (requests_.size() > kKeptRequests) {
    requests_.pop_front();
    ++first_kept_;
  }
  changed_.notify_all();
  return std::make_unique<Flight>(*this, number);
}

std::vector<RequestRecord> Ledger::requests() const {
  const std::lock_guard lock(mutex_);
  return {requests_.begin(), requests_.end()};
}

std::map<std::string, PostCount> Ledger::tokens() const {
  const std::lock_guard lock(mutex_);
  return tokens_;
}

int Ledger::family_max_in_flight(const std::string& family) const {
  const std::lock_guard lock(mutex_);
  const auto found = family_max_.find(family);
  return found == family_max_.end() ? 0 : found->second;
}

WireTotals Ledger::totals() const {
  const std::lock_guard lock(mutex_);
  return totals_;
}

int Ledger::in_flight() {
  const std::lock_guard lock(mutex_);
  forget_hung_up();
  return static_cast<int>(airborne_.size());
}

// Flights under way stay in the air; what they answer belongs to a request nobody lists any more.
void Ledger::reset() {
  const std::lock_guard lock(mutex_);
  requests_.clear();
  first_kept_ = last_number_ + 1;
  tokens_.clear();
  family_max_.clear();
  totals_ = {};
}

void Ledger::wait_for_change(std::chrono::milliseconds limit) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, limit);
}

void Ledger::land(std::uint64_t number) {
  const std::lock_guard lock(mutex_);
  airborne_.erase(number);
  changed_.notify_all();
}

void Ledger::answered(std::uint64_t number, int status) {
  const std::lock_guard lock(mutex_);
  if (number < first_kept_) return;
  auto& record = requests_[number - first_kept_];
  record.status = status;
  if (record.endpoint == Endpoint::kInference) {
    if (status == 200) ++totals_.inference_ok;
    if (status == 401) ++totals_.inference_rejected;
  }
  changed_.notify_all();
}

// A killed client's request is over, even while a delay still holds it on our side.
void Ledger::forget_hung_up() {
  for (auto flight = airborne_.begin(); flight != airborne_.end();) {
    flight = flight->second.hung_up() ? airborne_.erase(flight) : std::next(flight);
  }
}

void Ledger::count_post(const RequestRecord& record) {
  if (record.endpoint == Endpoint::kToken) ++totals_.token_posts;
  if (record.refresh_token.empty()) return;
  int same_token = 0;
  int same_family = 0;
  for (const auto& [number, flight] : airborne_) {
    same_token += flight.token == record.refresh_token;
    same_family += flight.family == record.family;
  }
  auto& token = tokens_[record.refresh_token];
  ++token.posts;
  token.max_in_flight = std::max(token.max_in_flight, same_token);
  if (!record.family.empty()) {
    auto& most = family_max_[record.family];
    most = std::max(most, same_family);
  }
}

}  // namespace authdb::portal
