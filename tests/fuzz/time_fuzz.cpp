// Times in every spelling, lifetimes, and the claims of a JWT.
#include <nlohmann/json.hpp>

#include "store/claims.h"
#include "store/timestamp.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace authdb;
  const auto text = fuzz::text_of(data, size);
  if (const auto parsed = parse_iso(text, NaiveTime::utc)) {
    const auto again = parse_iso(format_iso(parsed->at), NaiveTime::reject);
    fuzz::require(again && again->at == parsed->at, "a time that is written is read again");
  }
  parse_iso(text, NaiveTime::reject);
  const auto value = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  parse_time(value, NaiveTime::utc);
  parse_time(nlohmann::json(std::string(text)), NaiveTime::utc);
  if (const auto life = parse_lifetime(value)) {
    fuzz::require(life->count() > 0, "a lifetime is positive");
  }
  read_claims(text);
  has_scope(text, "inference:invoke");
  return 0;
}
