// What a portal has counted. Tokens go by their fingerprint.
#pragma once

#include <map>
#include <string>

namespace authdb::portal {

struct TokenCounters {
  int posts = 0;          // requests that carried this refresh token, faults included
  int max_in_flight = 0;  // at the same moment; more than 1 is a second spender
  std::string family{};   // empty: not one of ours
  int generation = 0;
  std::string state = "unknown";  // current | spent | reused | revoked | unknown
};

struct FamilyCounters {
  std::string account{};
  int generation = 1;
  int rotations = 0;
  int reuse_detected = 0;
  bool revoked = false;
  int max_in_flight = 0;  // over all refresh tokens of the family
};

struct Totals {
  int token_posts = 0;  // to any token endpoint, with any grant_type, faults included
  int rotations = 0;
  int mints = 0;
  int inference_ok = 0;
  int inference_rejected = 0;  // answered 401
  int reuse_detected = 0;
  int max_in_flight_per_token = 0;
};

struct Counters {
  Totals totals;
  std::map<std::string, FamilyCounters> families;  // by family id
  std::map<std::string, TokenCounters> tokens;     // by fingerprint
};

}  // namespace authdb::portal
