#include "oauth/grant_owner.h"

#include <initializer_list>
#include <nlohmann/json.hpp>

#include "store/claims.h"

namespace authdb::oauth {
namespace {

std::string first_of(const TokenAnswer& answer, std::initializer_list<const char*> keys) {
  for (const char* key : keys) {
    if (const auto text = answer.text(key); !text.empty()) return std::string(text);
  }
  return {};
}

// Anthropic's: {"account": {"uuid": …}}.
std::string account_uuid(const TokenAnswer& answer) {
  const auto account = answer.fields().find("account");
  if (account == answer.fields().end() || !account->is_object()) return {};
  const auto uuid = account->find("uuid");
  return uuid != account->end() && uuid->is_string() ? uuid->get<std::string>() : std::string();
}

}  // namespace

GrantOwner owner_of(const TokenAnswer& answer) {
  GrantOwner owner;
  const auto read = [&](const char* token, std::string& subject) {
    const auto claims = read_claims(answer.text(token));
    if (!claims) return;
    if (owner.account.empty()) owner.account = claims->account;
    subject = claims->subject;
  };
  read("access_token", owner.subject.access);
  read("id_token", owner.subject.id);
  if (owner.account.empty()) owner.account = first_of(answer, {"chatgpt_account_id", "account_id"});
  if (owner.account.empty()) owner.account = account_uuid(answer);
  owner.subject.stated = answer.text("sub");
  return owner;
}

}  // namespace authdb::oauth
