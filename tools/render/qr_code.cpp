#include "tools/render/qr_code.h"

#include <qrcodegen/qrcodegen.hpp>
#include <stdexcept>

namespace authdb::cli {
namespace {

constexpr int kQuietZone = 4;  // modules, ISO/IEC 18004

std::string drawn(const qrcodegen::QrCode& code, bool colour) {
  // Dark outside of the code too is false: that is the quiet zone.
  const auto dark = [&](int x, int y) { return code.getModule(x, y); };
  const int end = code.getSize() + kQuietZone;
  std::string lines;
  for (int y = -kQuietZone; y < end; y += 2) {
    if (colour) lines += "\x1b[40;97m";
    for (int x = -kQuietZone; x < end; ++x) {
      const bool upper = !dark(x, y);
      const bool lower = y + 1 < end && !dark(x, y + 1);
      lines += upper ? (lower ? "█" : "▀") : (lower ? "▄" : " ");
    }
    lines += colour ? "\x1b[0m\n" : "\n";
  }
  return lines;
}

}  // namespace

std::string qr_code(std::string_view text, bool colour) {
  try {
    return drawn(
        qrcodegen::QrCode::encodeText(std::string(text).c_str(), qrcodegen::QrCode::Ecc::LOW),
        colour);
  } catch (const std::length_error&) {
    return {};
  }
}

}  // namespace authdb::cli
