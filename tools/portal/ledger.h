// Ledger remembers what came over the wire: every request, how often each refresh token was
// posted, and how many requests with one token were in flight at the same moment.
//
// In flight is: from the arrival of the request until just before the last byte of its answer
// leaves, or the connection closes, or the client hangs up. So a client that posts as soon as it
// has its answer, or a successor of a killed client, is never counted as a second spender.
//
// Thread-safe.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "tools/portal/fault.h"

namespace authdb::portal {

// One request as GET /_control/requests shows it. Tokens appear as fingerprints only.
struct RequestRecord {
  std::int64_t at_ms = 0;
  Endpoint endpoint = Endpoint::kToken;
  std::string method{};
  std::string path{};
  std::string user_agent{};
  std::string grant_type{};
  std::string family{};         // of the refresh token or the bearer; empty: unknown
  std::string refresh_token{};  // fingerprint
  std::string refresh_in{};     // body | header
  std::string bearer{};         // fingerprint
  int status = 0;               // 0: no answer (yet, or ever)
};

struct PostCount {
  int posts = 0;
  int max_in_flight = 0;
};

struct WireTotals {
  int token_posts = 0;
  int inference_ok = 0;
  int inference_rejected = 0;
};

class Ledger {
 public:
  // One request in flight; it ends with this object. Must not outlive the ledger.
  class Flight {
   public:
    Flight(Ledger& ledger, std::uint64_t number) : ledger_(ledger), number_(number) {}
    ~Flight() { ledger_.land(number_); }
    Flight(const Flight&) = delete;
    Flight& operator=(const Flight&) = delete;

    void answered(int status) { ledger_.answered(number_, status); }

   private:
    Ledger& ledger_;
    const std::uint64_t number_;
  };

  // `hung_up` is asked whether the client has gone, for as long as the flight lasts.
  std::unique_ptr<Flight> arrive(RequestRecord record, std::function<bool()> hung_up);

  std::vector<RequestRecord> requests() const;      // in order of arrival; the last 100,000
  std::map<std::string, PostCount> tokens() const;  // by fingerprint
  int family_max_in_flight(const std::string& family) const;
  WireTotals totals() const;
  int in_flight();  // requests of all endpoints that are under way
  void reset();

  // Waits for the next arrival, answer or end of a flight, at most `limit`.
  void wait_for_change(std::chrono::milliseconds limit);

 private:
  struct Airborne {
    std::string token;
    std::string family;
    std::function<bool()> hung_up;
  };

  void land(std::uint64_t number);
  void answered(std::uint64_t number, int status);
  void forget_hung_up();
  void count_post(const RequestRecord& record);

  mutable std::mutex mutex_;  // guards all below
  std::condition_variable changed_;
  std::uint64_t last_number_ = 0;
  std::uint64_t first_kept_ = 1;  // number of requests_.front()
  std::deque<RequestRecord> requests_;
  std::map<std::uint64_t, Airborne> airborne_;
  std::map<std::string, PostCount> tokens_;
  std::map<std::string, int> family_max_;
  WireTotals totals_;
};

}  // namespace authdb::portal
