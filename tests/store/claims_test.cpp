#include "store/claims.h"

#include <gtest/gtest.h>
#include <sodium.h>

#include <nlohmann/json.hpp>

namespace authdb {
namespace {

using nlohmann::json;

std::string base64url(const std::string& text, int variant) {
  std::string out(sodium_base64_encoded_len(text.size(), variant), '\0');
  sodium_bin2base64(out.data(), out.size(), reinterpret_cast<const unsigned char*>(text.data()),
                    text.size(), variant);
  out.pop_back();
  return out;
}

std::string jwt(const std::string& payload,
                int variant = sodium_base64_VARIANT_URLSAFE_NO_PADDING) {
  return "eyJhbGciOiJub25lIn0." + base64url(payload, variant) + ".c2ln";
}
std::string jwt(const json& payload) { return jwt(payload.dump()); }

json openai(const json& auth) { return {{"https://api.openai.com/auth", auth}}; }

// Rows 101 to 107 of the two-stage client's table: the account is there or it is not, and nothing
// ever throws.
TEST(Claims, AValidTokenGivesTheAccount) {
  EXPECT_EQ(read_claims(jwt(openai({{"chatgpt_account_id", "acct-1"}})))->account, "acct-1");
}

TEST(Claims, WhatIsNoJwtHasNone) {
  for (const char* token : {"", " ", "sk-ant-oat01-abc", "a.b", "a.b.c.d", "...", "..", "a..c",
                            "eyJhbGciOiJub25lIn0.!!!.c2ln", "a.e30"}) {
    EXPECT_FALSE(read_claims(token)) << token;
  }
}

TEST(Claims, PaddedAndUnpaddedPayloadsAreRead) {
  for (const std::string filler : {"", "x", "xx", "xxx"}) {
    const std::string payload = json{{"sub", "user" + filler}}.dump();
    EXPECT_EQ(read_claims(jwt(payload))->subject, "user" + filler);
    EXPECT_EQ(read_claims(jwt(payload, sodium_base64_VARIANT_URLSAFE))->subject, "user" + filler);
  }
}

TEST(Claims, AMissingClaimIsEmptyNotAnError) {
  const auto claims = read_claims(jwt(json{{"aud", "x"}}));
  ASSERT_TRUE(claims);
  EXPECT_EQ(claims->account, "");
  EXPECT_EQ(claims->expires_at, std::nullopt);
}

TEST(Claims, MalformedPayloadsAreNoClaims) {
  for (const char* payload :
       {"not json", "[1]", "\"text\"", "7", "null", "{\"a\":", "{\"a\":\"\xff\"}"}) {
    EXPECT_FALSE(read_claims(jwt(std::string(payload)))) << payload;
  }
}

TEST(Claims, AnAccountOfAnotherTypeIsIgnored) {
  EXPECT_EQ(read_claims(jwt(openai({{"chatgpt_account_id", 7}})))->account, "");
  EXPECT_EQ(read_claims(jwt(openai("acct")))->account, "");
}

TEST(Claims, TheEmailIsEmailThenPreferredUsernameThenUpn) {
  EXPECT_EQ(
      read_claims(jwt(json{{"upn", "c"}, {"preferred_username", "b"}, {"email", "a"}}))->email,
      "a");
  EXPECT_EQ(read_claims(jwt(json{{"upn", "c"}, {"preferred_username", "b"}}))->email, "b");
  EXPECT_EQ(read_claims(jwt(json{{"upn", "c"}, {"email", ""}}))->email, "c");
}

TEST(Claims, ScpMayBeAnArrayOrAStringAndJoinsScope) {
  EXPECT_EQ(read_claims(jwt(json{{"scp", {"a", "b"}}}))->scope, "a b");
  EXPECT_EQ(read_claims(jwt(json{{"scp", "a b"}}))->scope, "a b");
  EXPECT_EQ(read_claims(jwt(json{{"scope", "x"}, {"scp", {"a", 7}}}))->scope, "x a");
}

TEST(Claims, TimesAreEpochSeconds) {
  const auto claims = read_claims(jwt(json{{"exp", 1778841000}, {"iat", 1778840100}}));
  EXPECT_EQ(claims->expires_at, at_millis(1'778'841'000'000));
  EXPECT_EQ(claims->issued_at, at_millis(1'778'840'100'000));
}

TEST(Claims, TimesOfTheWrongKindAreUnknown) {
  for (const json& exp : {json(true), json("1778841000"), json(0), json(-1), json(1e300), json()}) {
    EXPECT_EQ(read_claims(jwt(json{{"exp", exp}}))->expires_at, std::nullopt) << exp;
  }
}

TEST(Scope, IsMatchedByWholeWords) {
  EXPECT_TRUE(has_scope("openid inference:invoke", "inference:invoke"));
  EXPECT_FALSE(has_scope("inference:invoke2", "inference:invoke"));
  EXPECT_FALSE(has_scope("", "inference:invoke"));
  EXPECT_FALSE(has_scope("xinference:invoke y", "inference:invoke"));
}

}  // namespace
}  // namespace authdb
