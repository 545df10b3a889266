// Faults: what can go wrong on the wire, programmed in advance.
//
// A request meets at most one fault, the first of the list that matches it and has neither
// requests to skip nor its times used up.
#pragma once

#include <chrono>
#include <cstdint>
#include <list>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace authdb::portal {

enum class Endpoint { kToken, kAgentKey, kInference, kDevice, kAuthorize, kRevoke, kDiscovery };

// token, agent-key, inference, device, authorize, revoke, discovery
const char* name_of(Endpoint endpoint);

enum class When {
  kBefore,  // nothing is processed: a refresh token stays unspent
  kAfter,   // the request is processed, and its answer is replaced or lost
};

// What servers and proxies put around the JSON of an answer although nobody asked.
enum class Wrapping {
  kNone,
  kGzip,      // and its Content-Encoding
  kForm,      // application/x-www-form-urlencoded
  kBom,       // a byte order mark before it
  kPrefix,    // )]}', before it, against hijacking
  kTrailing,  // a comment behind it
  kData,      // {"code":0,"data":…}
};

struct Fault {
  // Which requests.
  Endpoint endpoint = Endpoint::kToken;
  std::string grant_type{};  // empty: any
  std::string family{};      // empty: any; else the family of the request's token
  int skip = 0;              // let so many matching requests pass first
  int times = 1;             // 0: for ever

  // Waiting. Ends early when the portal stops or `release` is asked for.
  std::chrono::milliseconds delay_before{0};  // before processing
  std::chrono::milliseconds delay_after{0};   // after processing, before the first answer byte

  // Another answer instead of the normal one. An absent status is 200 for `body`, 502 for `html`,
  // 302 for `redirect`.
  std::optional<int> status{};
  std::optional<std::string> body{};
  std::string content_type{};
  std::string retry_after{};
  std::string redirect{};  // the Location
  bool html = false;
  When when = When::kBefore;

  // The normal answer, changed. It has been processed.
  nlohmann::json merge = nlohmann::json::object();  // RFC 7396: null removes a field
  bool malformed = false;                           // without its last byte, so no JSON any more
  std::size_t huge_bytes = 0;                       // blanks behind it up to this size of the body
  Wrapping wrapping = Wrapping::kNone;

  // The bytes on the wire.
  std::optional<When> drop{};               // close the connection without an answer
  std::optional<std::int64_t> cut_after{};  // close after so many bytes, headers included;
                                            // negative: so many short of the end
  std::chrono::milliseconds drip{0};        // the body one byte at a time, so far apart
  bool endless = false;                     // no length, and blanks behind the body for ever

  bool replaces_answer() const;
};

// The fault as the control API spells it (cut_after_bytes, delay_before_ms, …).
// Throws BadRequest naming a field that is unknown or of the wrong type.
Fault fault_from_json(const nlohmann::json& object);

// The programmed faults. Thread-safe.
class FaultPlan {
 public:
  void add(Fault fault);
  void clear();
  // The fault this request meets, counted as used; without one, a Fault that changes nothing.
  Fault take(Endpoint endpoint, const std::string& grant_type, const std::string& family);

 private:
  std::mutex mutex_;
  std::list<Fault> faults_;  // in the order they were added
};

}  // namespace authdb::portal
