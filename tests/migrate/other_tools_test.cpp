// Files of Codex CLI, Claude Code and Qwen Code.
#include "migrate/formats/format.h"
#include "tests/migrate/support.h"

namespace authdb::migrate {
namespace {

using testing::extra_of;
using ::testing::IsEmpty;
using testing::json;
using ::testing::SizeIs;
using testing::text;

Document read_tree(const json& tree) {
  const testing::TempDir dir;
  return read_document(dir.write_json("credentials.json", tree), "default");
}

TEST(CodexReader, TheChatGptGrantAndTheKeyAreTwoCredentials) {
  const Document document = read_tree({{"OPENAI_API_KEY", "sk-FAKE"},
                                       {"tokens",
                                        {{"id_token", "idt"},
                                         {"access_token", "at"},
                                         {"refresh_token", "rt"},
                                         {"account_id", "acct_1"}}},
                                       {"last_refresh", "2026-09-20T09:00:00Z"}});

  EXPECT_EQ(document.format, "codex");
  ASSERT_THAT(document.rows, SizeIs(2));
  EXPECT_EQ(document.rows[0].identity.provider, "openai-codex");
  EXPECT_EQ(text(document.rows[0].grant.refresh_token), "rt");
  EXPECT_EQ(document.rows[0].grant.obtained_at, testing::at("2026-09-20T09:00:00Z"));
  EXPECT_EQ(document.rows[0].identity.account, "acct_1");
  EXPECT_EQ(extra_of(document.rows[0].extra)["tokens"]["id_token"], "idt");
  EXPECT_EQ(document.rows[1].identity.provider, "openai");
  EXPECT_EQ(document.rows[1].identity.auth_type, AuthType::api_key);
  EXPECT_EQ(text(document.rows[1].grant.access_token), "sk-FAKE");
}

TEST(CodexReader, ANullKeyIsNoCredential) {
  const Document document = read_tree({{"OPENAI_API_KEY", nullptr}, {"tokens", nullptr}});

  EXPECT_FALSE(document.failure);
  EXPECT_THAT(document.rows, IsEmpty());
}

TEST(ClaudeReader, TheGrantIsReadAndTheRestKept) {
  const Document document = read_tree({{"claudeAiOauth",
                                        {{"accessToken", "sk-ant-oat01-F"},
                                         {"refreshToken", "sk-ant-ort01-F"},
                                         {"expiresAt", 1790028800000},
                                         {"scopes", {"user:inference", "user:profile"}},
                                         {"subscriptionType", "max"}}},
                                       {"mcpOAuth", {{"server", {{"accessToken", "x"}}}}}});

  EXPECT_EQ(document.format, "claude");
  ASSERT_THAT(document.rows, SizeIs(1));
  const Row& row = document.rows[0];
  EXPECT_EQ(row.identity.provider, "anthropic");
  EXPECT_EQ(row.identity.source, "claude_code");
  EXPECT_EQ(row.identity.scope, "user:inference user:profile");
  EXPECT_EQ(text(row.grant.refresh_token), "sk-ant-ort01-F");
  EXPECT_EQ(row.grant.expires_at, at_millis(1790028800000));
  EXPECT_EQ(extra_of(row.extra)["subscriptionType"], "max");
  EXPECT_EQ(extra_of(document.unknown)["mcpOAuth"]["server"]["accessToken"], "x");
}

TEST(QwenReader, TheSampleIsRead) {
  const Document document = read_document(testing::sample("14_qwen_oauth_creds.json"), "default");

  ASSERT_THAT(document.rows, SizeIs(1));
  const Row& row = document.rows[0];
  EXPECT_EQ(row.identity.provider, "qwen-oauth");
  EXPECT_EQ(row.identity.source, "qwen-cli");
  EXPECT_EQ(text(row.grant.refresh_token), "qw_FAKE_refresh");
  EXPECT_EQ(row.grant.expires_at, at_millis(1790010000000));
  EXPECT_EQ(extra_of(row.extra)["resource_url"], "portal.qwen.ai");
}

TEST(QwenReader, GeminisFileIsNotTakenForQwens) {
  EXPECT_TRUE(
      read_tree({{"access_token", "ya29"}, {"refresh_token", "1//"}, {"expiry_date", 1}}).failure);
}

TEST(OpencodeReader, GrantsKeysAndWellKnownTokensAreRead) {
  const Document document = read_tree(
      {{"openai",
        {{"type", "oauth"}, {"access", "at"}, {"refresh", "rt"}, {"expires", 1790010000000}}},
       {"groq", {{"type", "api"}, {"key", "k"}}},
       {"https://x.example", {{"type", "wellknown"}, {"key", "X_TOKEN"}, {"token", "t"}}}});

  ASSERT_THAT(document.rows, SizeIs(3));
  const Row* login = testing::row_at(document, "openai");
  EXPECT_EQ(login->identity.provider, "openai-codex") << "ChatGPT's login is no API key";
  EXPECT_EQ(text(login->grant.refresh_token), "rt");
  EXPECT_EQ(login->grant.expires_at, at_millis(1790010000000));
  const Row* key = testing::row_at(document, "groq");
  EXPECT_EQ(key->identity.auth_type, AuthType::api_key);
  EXPECT_EQ(text(key->grant.access_token), "k");
  const Row* known = testing::row_at(document, "https://x.example");
  EXPECT_EQ(text(known->grant.access_token), "t");
  EXPECT_EQ(extra_of(known->extra)["key"], "X_TOKEN");
}

TEST(OpencodeReader, WhatStandsInForATokenIsNone) {
  const Document document = read_tree(
      {{"anthropic",
        {{"type", "oauth"}, {"access", "at"}, {"refresh", "held-by-authdb"}, {"expires", 1}}}});

  ASSERT_THAT(document.rows, SizeIs(1));
  EXPECT_TRUE(document.rows[0].grant.refresh_token.empty());
}

}  // namespace
}  // namespace authdb::migrate
