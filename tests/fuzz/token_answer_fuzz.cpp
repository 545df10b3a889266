// What a token endpoint says, whole or cut: nothing in it crashes us or ends up on a terminal.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "oauth/token_answer.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace authdb;
  const oauth::TokenAnswer answer(fuzz::text_of(data, size));
  for (const char* key : {"access_token", "refresh_token", "token_type", "scope", "error"}) {
    const auto text = answer.text(key);
    const bool clean = std::none_of(text.begin(), text.end(), [](char c) {
      return static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
    });
    fuzz::require(clean, "a member has no control characters");
  }
  fuzz::require(answer.fields().is_object(), "the fields are an object");
  answer.key_names();
  return 0;
}
