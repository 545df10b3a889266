#include "migrate/plan/evidence.h"

#include "store/timestamp.h"

namespace authdb::migrate {
namespace {

using Time = std::optional<Instant>;

// Both known and different.
bool tells(const Time& a, const Time& b) { return a && b && *a != *b; }

const Time& start(const Evidence& e) { return e.obtained ? e.obtained : e.issued; }
const Time& end(const Evidence& e) { return e.token_ends ? e.token_ends : e.expires; }

bool contradictory(const Evidence& a, const Evidence& b) {
  return tells(a.obtained, b.obtained) && tells(a.issued, b.issued) &&
         (*a.obtained > *b.obtained) != (*a.issued > *b.issued);
}

Age by(const Time& a, const Time& b) { return *a > *b ? Age::newer : Age::older; }

std::string later(const char* what, Instant a, Instant b, const std::string& other) {
  return what + format_iso(std::chrono::floor<Seconds>(a)) + ", " + duration_text(a - b) +
         " after " + other + "'s";
}

}  // namespace

Age compare(const Evidence& a, const Evidence& b) {
  if (contradictory(a, b)) return Age::unknown;
  if (tells(start(a), start(b))) return by(start(a), start(b));
  if (tells(end(a), end(b))) return by(end(a), end(b));
  return Age::unknown;
}

std::string reason(const Evidence& a, const Evidence& b, const std::string& other) {
  if (tells(start(a), start(b))) {
    return later(a.obtained ? "obtained " : "issued ", *start(a), *start(b), other);
  }
  if (tells(end(a), end(b))) return later("expires ", *end(a), *end(b), other);
  return {};
}

void complete(Evidence& a, const Evidence& b) {
  if (b.obtained && (!a.obtained || (a.derived && !b.derived))) {
    a.obtained = b.obtained;
    a.derived = b.derived;
  }
  if (!a.issued) a.issued = b.issued;
  if (!a.token_ends) a.token_ends = b.token_ends;
  if (!a.expires) a.expires = b.expires;
}

std::string duration_text(Milliseconds span) {
  const auto seconds = std::chrono::duration_cast<Seconds>(span).count();
  if (seconds >= 86400) return std::to_string(seconds / 86400) + " d";
  if (seconds >= 3600) return std::to_string(seconds / 3600) + " h";
  if (seconds >= 60) return std::to_string(seconds / 60) + " min";
  return std::to_string(seconds) + " s";
}

}  // namespace authdb::migrate
