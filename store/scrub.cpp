#include "store/scrub.h"

#include <algorithm>
#include <array>

namespace authdb {
namespace {

constexpr std::string_view kRedacted = "[redacted]";
constexpr std::size_t kTokenLength = 16;    // shorter runs are words and numbers
constexpr std::size_t kLongRun = 20;        // longer ones are words only if nothing but words
constexpr std::size_t kLongestWord = 20;    // longer ones without a separator are no words
constexpr std::size_t kShortestSecret = 6;  // shorter ones would redact half the alphabet
constexpr std::array<std::string_view, 8> kTokenStarts{"sk-", "eyJ",   "nrt_", "nat_",
                                                       "rt_", "anon_", "xrt_", "Bearer"};

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
// What tokens of all kinds are written with: base64 in both alphabets, JWT's dots, `sk-` and `rt_`,
// and the signs that some opaque ones have (`M.C5_BAY.0.U.-Cq*7h!x$`, `17|x9…`).
bool is_token_char(char c) {
  return is_digit(c) || is_upper(c) || is_lower(c) ||
         std::string_view("_-.+~=/%*!$|").find(c) != std::string_view::npos;
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](char c) { return is_upper(c) ? static_cast<char>(c - 'A' + 'a') : c; });
  return out;
}

// Also after a sign: `x=nrt_…` and `x%nrt_…` are one run.
bool begins_as_token(std::string_view run) {
  for (std::size_t at = 0; at < run.size(); ++at) {
    const bool begins =
        at == 0 || std::string_view("=%*!$|").find(run[at - 1]) != std::string_view::npos;
    if (!begins) continue;
    const std::string_view rest = run.substr(at);
    if (rest == "Bearer") continue;  // announces one
    if (std::any_of(kTokenStarts.begin(), kTokenStarts.end(),
                    [&](std::string_view start) { return rest.starts_with(start); })) {
      return true;
    }
  }
  return false;
}

// `refresh_token_reused`, `please re-authenticate` and host names are words; a run with digits,
// inner capitals or no end is not, nor is a long one that has capitals at all.
bool is_no_words(std::string_view run) {
  if (run.size() < kTokenLength) return false;
  std::size_t word = 0;
  for (std::size_t i = 0; i < run.size(); ++i) {
    const char c = run[i];
    word = is_lower(c) || is_upper(c) ? word + 1 : 0;
    if (word > kLongestWord || is_digit(c) || c == '+' || c == '=' || c == '%') return true;
    if (is_upper(c) && i > 0 && is_lower(run[i - 1])) return true;
    if ((is_upper(c) || c == '~') && run.size() >= kLongRun) return true;
  }
  return false;
}

bool looks_like_token(std::string_view run) { return begins_as_token(run) || is_no_words(run); }

// Words after which a secret follows, whatever it looks like.
bool announces_secret(std::string_view word) {
  static constexpr std::array<std::string_view, 6> kNames{
      "bearer", "token", "refresh_token", "access_token", "api_key", "agent_key"};
  return std::find(kNames.begin(), kNames.end(), lower(word)) != kNames.end();
}

// One line of printable text. Bytes of UTF-8 stay, C1 controls in it do not.
std::string printable(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    const bool c1 =
        c == 0xc2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xa0;
    if (c1) ++i;
    const bool blank = c <= ' ' || c == 0x7f || c1;
    if (!blank) {
      out += text[i];
    } else if (!out.empty() && out.back() != ' ') {
      out += ' ';
    }
  }
  while (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

void cut_out(std::string& text, std::string_view secret) {
  if (secret.size() < kShortestSecret) return;
  for (auto at = text.find(secret); at != std::string::npos; at = text.find(secret, at)) {
    text.replace(at, secret.size(), kRedacted);
    at += kRedacted.size();
  }
}

std::string without_tokens(std::string_view text) {
  std::string out;
  std::string_view before;  // the last run
  bool assigned = false;    // a `=` or `:` stood after it
  for (std::size_t i = 0; i < text.size();) {
    if (!is_token_char(text[i])) {
      assigned = assigned || text[i] == ':';
      out += text[i++];
      continue;
    }
    std::size_t end = i;
    while (end < text.size() && is_token_char(text[end])) ++end;
    std::string_view run = text.substr(i, end - i);
    // `token=abc` is one run; what stands left of the sign is the name.
    if (const auto sign = run.find('=');
        sign != std::string_view::npos && announces_secret(run.substr(0, sign))) {
      out += std::string(run.substr(0, sign + 1)) + std::string(kRedacted);
    } else if (looks_like_token(run) ||
               (announces_secret(before) && (assigned || lower(before) == "bearer") &&
                run.size() >= kShortestSecret)) {
      out += kRedacted;
    } else {
      out += run;
    }
    before = run;
    assigned = false;
    i = end;
  }
  return out;
}

// Not in the middle of a UTF-8 character.
void shorten(std::string& text, std::size_t longest) {
  if (text.size() <= longest) return;
  std::size_t end = longest;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  text.resize(end);
  text += "...";
}

}  // namespace

std::string scrub(std::string_view text, const std::vector<const Secret*>& known,
                  std::size_t longest) {
  std::string out(text);
  for (const Secret* secret : known) cut_out(out, secret->reveal());
  out = without_tokens(printable(out));
  shorten(out, longest);
  return out;
}

}  // namespace authdb
