// The strict JSON parser: what it lets through is what the library reads too, and comes back.
#include "migrate/formats/json_text.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace authdb;
  auto text = fuzz::text_of(data, size);
  auto tree = migrate::parse_json(text, "fuzzed");
  if (!tree) {
    fuzz::require(tree.error().message.starts_with("fuzzed, line "), "a refusal says where");
    return 0;
  }
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  const auto plain = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  fuzz::require(plain == *tree, "the strict parser reads what the library reads");
  const Secret sealed = migrate::seal_text(std::move(*tree));
  if (!sealed.empty()) fuzz::require(migrate::open_text(sealed) == plain, "it comes back");
  return 0;
}
