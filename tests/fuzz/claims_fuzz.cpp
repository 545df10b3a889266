// What a token says about itself: any text is read or is none, also behind a right encoding.
#include <sodium.h>

#include <string>

#include "store/claims.h"
#include "tests/fuzz/fuzz.h"

namespace {

std::string token_with_payload(std::string_view payload) {
  constexpr int kVariant = sodium_base64_VARIANT_URLSAFE_NO_PADDING;
  std::string encoded(sodium_base64_ENCODED_LEN(payload.size(), kVariant), '\0');
  sodium_bin2base64(encoded.data(), encoded.size(),
                    reinterpret_cast<const unsigned char*>(payload.data()), payload.size(),
                    kVariant);
  encoded.pop_back();  // its terminator
  return "header." + encoded + ".signature";
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace authdb;
  const auto text = fuzz::text_of(data, size);
  read_claims(text);
  if (const auto claims = read_claims(token_with_payload(text))) {
    const auto first = claims->scope.substr(0, claims->scope.find(' '));
    fuzz::require(first.empty() || has_scope(claims->scope, first), "a scope has its first word");
  }
  return 0;
}
