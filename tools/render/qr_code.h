// A QR code for a terminal: two modules to a character, with the quiet zone that scanners want.
#pragma once

#include <string>
#include <string_view>

namespace authdb::cli {

// Lines, each ended. With `colour` light is light on any terminal, else on dark ones only, as most
// are. Empty if the text does not fit in a QR code.
std::string qr_code(std::string_view text, bool colour);

}  // namespace authdb::cli
