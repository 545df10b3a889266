// A user's provider file: usable, or refused with the names of its fields.
#include <nlohmann/json.hpp>

#include "oauth/provider_file.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace authdb;
  const auto object =
      nlohmann::json::parse(fuzz::text_of(data, size), nullptr, /*allow_exceptions=*/false);
  if (object.is_discarded() || !object.is_object()) return 0;
  oauth::Provider provider;
  const auto problems = oauth::read_provider(object, "fuzzed", provider);
  for (const auto& problem : problems) {
    fuzz::require(!problem.reason.empty(), "a refusal has a reason");
  }
  return 0;
}
