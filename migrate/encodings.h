// What a text may have been made from by the encodings in common use.
#pragma once

#include <functional>
#include <string_view>

namespace authdb::migrate {

// Reads `text` as it is; with what is escaped in it put back (percent, JSON's backslashes, HTML's
// entities); and every stretch of it that can be base64 (either alphabet, from each of the places
// where four letters can begin, line ends left out, with and without blanks) or hexadecimal digits
// (with and without blanks, line ends, colons, dashes and commas between them), as the printable
// text of 16 bytes or more that it stands for. What was read is read in the same ways once more.
// True as soon as `found` is; the readings are wiped. The time is linear in the text's size.
bool any_reading(std::string_view text, const std::function<bool(std::string_view)>& found);

}  // namespace authdb::migrate
