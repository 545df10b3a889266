#include "store/uid.h"

#include <sodium.h>

#include <string_view>

namespace authdb {

namespace {
constexpr std::string_view kAlphabet = "abcdefghijklmnopqrstuvwxyz234567";
}

std::string draw_base32(int characters) {
  std::string text;
  for (int i = 0; i < characters; ++i) text += kAlphabet[randombytes_random() % kAlphabet.size()];
  return text;
}

bool is_uid(std::string_view text) {
  return text.size() == 12 && text.find_first_not_of(kAlphabet) == std::string_view::npos;
}

}  // namespace authdb
