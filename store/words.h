// The words that enums are stored and shown as. Stored: never rename; append only.
#pragma once

#include <array>
#include <optional>
#include <string_view>
#include <utility>

#include "store/attempt.h"
#include "store/credential.h"
#include "store/pool.h"

namespace authdb {

template <typename E>
struct Words;  // a constexpr array `all` of {value, word}

#define AUTHDB_WORDS(Enum, ...)                                                                \
  template <>                                                                                  \
  struct Words<Enum> {                                                                         \
    static constexpr auto all = std::to_array<std::pair<Enum, std::string_view>>(__VA_ARGS__); \
  }

AUTHDB_WORDS(AuthType, {{AuthType::oauth, "oauth"}, {AuthType::api_key, "api_key"}});
AUTHDB_WORDS(BearerKind, {{BearerKind::access_token, "access_token"},
                          {BearerKind::agent_key, "agent_key"},
                          {BearerKind::api_key, "api_key"}});
AUTHDB_WORDS(Hold, {{Hold::none, ""},
                    {Hold::conflict, "conflict"},
                    {Hold::uncertain, "uncertain"},
                    {Hold::handed_over, "handed_over"}});
AUTHDB_WORDS(Status,
             {{Status::ok, "ok"}, {Status::exhausted, "exhausted"}, {Status::dead, "dead"}});
AUTHDB_WORDS(Origin, {{Origin::import, "import"},
                      {Origin::login, "login"},
                      {Origin::rotation, "rotation"}});
AUTHDB_WORDS(Retirement, {{Retirement::spent, "spent"},
                          {Retirement::presumed, "presumed"},
                          {Retirement::superseded, "superseded"},
                          {Retirement::removed, "removed"}});
AUTHDB_WORDS(Strategy, {{Strategy::fill_first, "fill_first"},
                        {Strategy::round_robin, "round_robin"},
                        {Strategy::least_used, "least_used"},
                        {Strategy::random, "random"}});
AUTHDB_WORDS(AttemptKind, {{AttemptKind::refresh, "refresh"},
                           {AttemptKind::mint, "mint"},
                           {AttemptKind::login, "login"},
                           {AttemptKind::import, "import"},
                           {AttemptKind::revoke, "revoke"}});
AUTHDB_WORDS(Outcome, {{Outcome::committed, "committed"},
                       {Outcome::rejected, "rejected"},
                       {Outcome::not_sent, "not_sent"},
                       {Outcome::uncertain, "uncertain"},
                       {Outcome::recovered, "recovered"},
                       {Outcome::superseded, "superseded"}});

#undef AUTHDB_WORDS

template <typename E>
constexpr std::string_view word(E value) {
  for (const auto& [candidate, text] : Words<E>::all) {
    if (candidate == value) return text;
  }
  return {};
}

template <typename E>
constexpr std::optional<E> from_word(std::string_view text) {
  for (const auto& [value, candidate] : Words<E>::all) {
    if (candidate == text) return value;
  }
  return std::nullopt;
}

}  // namespace authdb
