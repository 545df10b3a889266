#include "tests/model/server.h"

#include <array>

namespace authdb::model {
namespace {

// Longer than providers.d says (30 s): the store must not depend on the last second.
constexpr std::int64_t kGraceMs = 60'000;

int found(const std::map<std::string, int, std::less<>>& names, std::string_view text) {
  const auto it = names.find(text);
  return it == names.end() ? -1 : it->second;
}

}  // namespace

std::string_view provider_id(int provider) {
  constexpr std::array<std::string_view, kProviders> kIds{"acme", "gracious", "mintery"};
  return kIds.at(static_cast<std::size_t>(provider));
}

int Server::add_refresh(int family) {
  const int id = static_cast<int>(refresh_.size());
  std::string text = "refresh-" + std::to_string(family) + "-" + std::to_string(id) + "-made-up";
  refresh_names_[text] = id;
  refresh_.push_back({std::move(text), family, false, -1, 0});
  return id;
}

int Server::add_bearer(int family, bool is_key, std::int64_t expires_at) {
  const int id = static_cast<int>(bearers_.size());
  std::string text = (is_key ? "key-" : "access-") + std::to_string(family) + "-" +
                     std::to_string(id) + "-made-up";
  bearer_names_[text] = id;
  bearers_.push_back({std::move(text), family, is_key, expires_at});
  return id;
}

Issued Server::open_family(int provider, int account, std::int64_t now, int life_s) {
  const int family = static_cast<int>(families_.size());
  families_.push_back({provider, account, true, "", -1});
  families_.back().current = add_refresh(family);
  return {true, "", families_.back().current, add_bearer(family, false, now + life_s * 1000LL),
          life_s};
}

Issued Server::refresh(std::string_view token, std::int64_t now, int life_s, bool rotate) {
  const int id = refresh_named(token);
  if (id < 0) return {false, "invalid_grant"};
  RefreshToken& asked = refresh_.at(static_cast<std::size_t>(id));
  Family& family = families_.at(static_cast<std::size_t>(asked.family));
  if (!family.alive) return {false, "invalid_grant"};
  const int of = asked.family;
  const std::int64_t expires_at = now + life_s * 1000LL;
  if (asked.spent) {
    const bool forgiven = family.provider == kGracious && asked.successor == family.current &&
                          now - asked.spent_at <= kGraceMs;
    if (!forgiven) {
      end_family(of, "reuse of " + asked.text);
      return {false, "refresh_token_reused"};
    }
    return {true, "", family.current, add_bearer(of, false, expires_at), life_s};
  }
  if (!rotate) return {true, "", -1, add_bearer(of, false, expires_at), life_s};
  const int next = add_refresh(of);
  RefreshToken& spent = refresh_.at(static_cast<std::size_t>(id));  // add_refresh() moved them
  spent.spent = true;
  spent.successor = next;
  spent.spent_at = now;
  family.current = next;
  return {true, "", next, add_bearer(of, false, expires_at), life_s};
}

Issued Server::mint(std::string_view access, std::int64_t now, int life_s) {
  const int id = bearer_named(access);
  if (id < 0 || !family(bearer(id).family).alive || now >= bearer(id).expires_at) {
    return {false, "invalid_token"};
  }
  return {true, "", -1, add_bearer(bearer(id).family, true, now + life_s * 1000LL), life_s};
}

void Server::end_family(int family, const std::string& why) {
  Family& ended = families_.at(static_cast<std::size_t>(family));
  if (!ended.alive) return;
  ended.alive = false;
  ended.ended_by = why;
}

int Server::refresh_named(std::string_view text) const { return found(refresh_names_, text); }
int Server::bearer_named(std::string_view text) const { return found(bearer_names_, text); }

}  // namespace authdb::model
