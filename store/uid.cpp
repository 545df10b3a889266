#include "store/uid.h"

#include <sodium.h>

#include <string_view>

namespace authdb {

std::string draw_base32(int characters) {
  constexpr std::string_view kAlphabet = "abcdefghijklmnopqrstuvwxyz234567";
  std::string text;
  for (int i = 0; i < characters; ++i) text += kAlphabet[randombytes_random() % kAlphabet.size()];
  return text;
}

}  // namespace authdb
