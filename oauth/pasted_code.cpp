#include "oauth/pasted_code.h"

#include "oauth/authorization.h"
#include "oauth/endpoints.h"

namespace authdb::oauth {
namespace {

// `code#state`, or the address of the page that shows it.
Query pasted_query(std::string_view text) {
  if (text.find("code=") != std::string_view::npos) {
    const auto begin = text.find('?');
    return parse_query(text.substr(begin == std::string_view::npos ? 0 : begin + 1))
        .value_or(Query{});
  }
  const auto hash = std::min(text.find('#'), text.size());
  return {{"code", std::string(text.substr(0, hash))},
          {"state", std::string(text.substr(std::min(hash + 1, text.size())))}};
}

}  // namespace

Result<LoginAnswer> pasted_code_login(const LoginParts& parts) {
  Authorization authorization;
  authorization.redirect_uri = setting(*parts.provider, "redirect_uri", parts.environment).value;
  auto url = authorization_url(parts, authorization);
  if (!url) return fail(url.error());
  LoginEvent visit;
  visit.url = *std::move(url);
  visit.paste = true;
  parts.tell(visit);

  const auto pasted = parts.ask("The code that the page shows: ");
  if (!pasted) return fail(pasted.error());
  const Query query = pasted_query(pasted->reveal());
  const auto state = query.find("state");
  if (state == query.end() || state->second != authorization.state) {
    return fail(Errc::usage, "that is not the code of this login",
                "Paste all of what the page shows, code#state, from the page that was just "
                "opened.");
  }
  const auto code = code_in(parts, query);
  if (!code) return fail(code.error());
  return exchange_code(parts, *code, authorization);
}

}  // namespace authdb::oauth
