// Names the store draws: lower-case base32 (a-z, 2-7), from the kernel's randomness.
#pragma once

#include <string>
#include <string_view>

namespace authdb {

std::string draw_base32(int characters);

// Twelve characters: sixty bits, and a UNIQUE constraint behind them.
inline std::string draw_uid() { return draw_base32(12); }

// True for what draw_uid() could have drawn.
bool is_uid(std::string_view text);

}  // namespace authdb
