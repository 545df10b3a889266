// What an export without refresh tokens withholds: all of them, whatever they are called and
// wherever they stand.
#include "migrate/withheld.h"

#include <map>

#include "migrate/export.h"
#include "store/rotation.h"
#include "tests/migrate/support.h"
#include "tests/store/store_fixture.h"

namespace authdb::migrate {
namespace {

using namespace authdb::migrate::testing;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kLive = "rt-LIVE-0123456789-abcdef";
constexpr const char* kAccess = "at-LIVE-0123456789-abcdef";

// Fields that no reader knows, each with a refresh token that begins with `rt-`.
json hidden() {
  return {{"refresh", "rt-named-1"},
          {"old_refresh_token", "rt-named-2"},
          {"oldRefreshToken", "rt-named-3"},
          {"REFRESH_TOKEN", "rt-named-4"},
          {"refresh_tokens", {"rt-named-5", {{"value", "rt-named-6"}}}},
          {"nested", {{"deep", {{{"refreshToken", "rt-named-7"}}}}}},
          {"copy", kLive},
          {"note", std::string("was ") + kLive + ", see the log"},
          {"raw", std::string(R"({"a":[")") + kLive + R"("]})"},
          {"link", std::string("https://x.example/?t=") + kLive + "&more=1"},
          {"seen", {{kLive, "2026-01-01T00:00:00Z"}}}};
}

// Names with the same word that stay, since they hold none.
json harmless() {
  return {{"refreshed", true},
          {"refresh_count", 3},
          {"refresh_token_expires_at", 1790028800000},
          {"next_refresh", "2026-09-20T09:00:00Z"},
          {"refresh_token_fingerprint", "sha256:0123456789abcdef"},
          {"remark", "nothing to see"}};
}

json with(json tree, const json& more) {
  for (const auto& [name, value] : more.items()) {
    if (!tree.contains(name)) tree[name] = value;
  }
  return tree;
}
json loaded(json tree) { return with(with(std::move(tree), harmless()), {{"x", hidden()}}); }

struct Case {
  std::string_view format;
  fs::path file;
  json tree;
  json::json_pointer block;  // one place that has the harmless fields
};

std::vector<Case> cases() {
  const json tokens{{"access_token", kAccess}, {"refresh_token", kLive}};
  const json camel{{"accessToken", kAccess}, {"refreshToken", kLive}};
  json row = loaded(grant_row("aaa", kLive));
  row["source"] = "device_code";
  row["access_token"] = kAccess;
  const json given_up = loaded({{"last_auth_error", {{"code", "x"}}}});
  const json bad = with(hidden(), {{"id", 7}, {"refresh_token", {"rt-named-8"}}});
  const json hermes = loaded({{"providers", {{"nous", loaded(tokens)}, {"spotify", given_up}}},
                              {"credential_pool", {{"nous", std::vector<json>{row, bad}}}}});
  return {
      {"hermes", "auth.json", hermes, "/credential_pool/nous/0"_json_pointer},
      {"hermes", "auth.json", hermes, "/providers/nous"_json_pointer},
      {"hermes", "auth.json", hermes, "/providers/spotify"_json_pointer},
      {"hermes", "auth.json", hermes, ""_json_pointer},
      {"hermes-anthropic", ".anthropic_oauth.json", loaded(camel), ""_json_pointer},
      {"hermes-shared-nous", "shared/nous_auth.json",
       loaded(with(tokens, {{"portal_base_url", "https://portal.nousresearch.com"}})),
       ""_json_pointer},
      {"claude", ".credentials.json", loaded({{"claudeAiOauth", loaded(camel)}}),
       "/claudeAiOauth"_json_pointer},
      {"codex", "auth.json", loaded({{"auth_mode", "chatgpt"}, {"tokens", loaded(tokens)}}),
       "/tokens"_json_pointer},
      {"qwen", "oauth_creds.json",
       loaded(with(tokens, {{"resource_url", "portal.qwen.ai"}, {"expiry_date", 1790028800000}})),
       ""_json_pointer},
      {"opencode",
       "auth.json",
       {{"anthropic", loaded({{"type", "oauth"}, {"access", kAccess}, {"refresh", kLive}})}},
       "/anthropic"_json_pointer}};
}

class WithheldTest : public test::StoreTest {
 protected:
  Store imported(const fs::path& file, const json& tree) {
    auto made = options();
    const std::string name = std::to_string(++stores_);
    made.path = dir_.path() / name / "auth.db";
    Store store = *Store::open(made, OpenMode::create);
    import(store, fs::path(name) / file, tree);
    return store;
  }
  void import(Store& store, const fs::path& file, const json& tree) {
    const auto path = files_.write_json(file, tree);
    const auto done = apply(store, *read_sources(from({path})), {});
    EXPECT_TRUE(done) << done.error().message;
  }
  static json exported(const Store& store, std::string_view format, bool with_refresh) {
    const auto bytes = export_document(
        store, {.profile = "default", .format = format, .with_refresh_tokens = with_refresh});
    EXPECT_TRUE(bytes) << bytes.error().message;
    return bytes ? json::parse(bytes->reveal()) : json();
  }

  TempDir files_;
  int stores_ = 0;
};

TEST_F(WithheldTest, NoFormatHasARefreshTokenInAnyField) {
  for (const Case& one : cases()) {
    SCOPED_TRACE(std::string(one.format) + one.block.to_string());
    const Store store = imported(one.file, one.tree);

    const json projection = exported(store, one.format, false);

    EXPECT_THAT(projection.dump(), Not(HasSubstr("rt-")));
    EXPECT_THAT(projection.dump(), HasSubstr(kAccess)) << "it is of use all the same";
    const json& block = projection.at(one.block);
    const json stays = harmless();
    for (const auto& [name, value] : stays.items()) {
      EXPECT_EQ(block.value(name, json()), value) << name;
    }
    EXPECT_TRUE(block.value("x", json()).contains("copy")) << "what is taken leaves its place";
  }
}

TEST_F(WithheldTest, WhatIsAskedForWithThemIsAsItWas) {
  for (const Case& one : cases()) {
    SCOPED_TRACE(std::string(one.format) + one.block.to_string());
    const Store store = imported(one.file, one.tree);

    const json back = exported(store, one.format, true);

    EXPECT_EQ(back.at(one.block).value("x", json()), hidden());
  }
}

TEST_F(WithheldTest, TokensOfOtherCredentialsAndSpentOnesGoToo) {
  auto first = grant_row("aaa", kLive);
  auto second = grant_row("bbb", "rt-SECOND-0123456789-abcdef");
  first["memo"] = "rt-SECOND-0123456789-abcdef";
  Store store = imported("auth.json", pool("nous", {first, second}));
  RotateRequest request;
  request.force = true;
  const auto rows = *store.list({});
  for (const auto& row : rows) {
    will(test::grants("rt-NEXT-" + row.uid, "at-NEXT-" + row.uid));
    const auto rotated = rotate(store, row.uid, request);
    ASSERT_TRUE(rotated) << rotated.error().message;
  }
  auto third = grant_row("ccc", "rt-THIRD-0123456789-abcdef");
  third["memo"] = std::string("first it was ") + kLive;
  auto other = third;
  import(store, "profiles/other/auth.json", pool("nous", {third}));
  first["memo"] = "rt-THIRD-0123456789-abcdef";
  first["memo2"] = "rt-SECOND-0123456789-abcdef";
  import(store, "again/auth.json", pool("nous", {first}));

  EXPECT_THAT(exported(store, "hermes", false).dump(), Not(HasSubstr("rt-")));
}

// What an export takes for a refresh token by its name alone, in a file of somebody else.
TEST_F(WithheldTest, WhatAnExportWouldTakeOutIsNotWrittenOver) {
  const Store store = imported("auth.json", pool("nous", {grant_row("aaa", kLive)}));
  const std::string unknown = "rt-UNKNOWN-0123456789";
  const std::vector<json> trees{
      {{"refresh_token", unknown}},
      {{"refresh_token", 123456789}},
      {{"refresh_token", "1790028800"}},
      {{"refresh_tokens", {unknown, 1}}},
      {{"refresh", {{"token", unknown}}}},
      {{"Refresh-Token", unknown}},
      {{"refresh_token", {{"value", unknown}}}},
      {{"s", json{{"refresh_token", unknown}}.dump()}},
      {{"s", json{{"t", json{{"refresh", {unknown, 1}}}.dump()}}.dump(2)}},
  };
  for (const json& tree : trees) {
    const auto there = has_unknown_refresh_token(tree, store);
    EXPECT_TRUE(there && *there) << tree;
    json taken = tree;
    ASSERT_TRUE(withhold_refresh_tokens(taken, store));
    EXPECT_THAT(taken.dump(), Not(HasSubstr(unknown))) << "one rule for both";
    EXPECT_FALSE(*has_unknown_refresh_token(taken, store)) << taken;
  }
  for (const json& tree :
       {harmless(), json{{"refresh_token", kLive}}, json{{"s", "{\"refresh_token\":"}},
        json{{"s", json{{"refresh_token", kLive}}.dump()}}}) {
    EXPECT_FALSE(*has_unknown_refresh_token(tree, store)) << tree;
  }
}

// ---- encoded ------------------------------------------------------------------------------------

std::string base64(std::string_view bytes, std::string_view last_two) {
  const std::string letters =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789" + std::string(last_two);
  std::string out;
  for (std::size_t bit = 0; bit < bytes.size() * 8; bit += 6) {
    unsigned value = 0;
    for (std::size_t i = bit; i < bit + 6; ++i) {
      const unsigned byte = i / 8 < bytes.size() ? static_cast<unsigned char>(bytes[i / 8]) : 0U;
      value = value * 2 + ((byte >> (7 - i % 8)) & 1U);
    }
    out += letters[value];
  }
  return out;
}

// Each byte as `before`, its hexadecimal digits and `after`.
std::string bytewise(std::string_view bytes, const std::string& before, bool upper,
                     const std::string& after = "") {
  const std::string_view digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
  std::string out;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    out += before + digits[byte >> 4U] + digits[byte & 15U] + after;
  }
  return out;
}

std::string replaced(std::string text, const std::string& what, const std::string& by) {
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += by.size()) {
    text.replace(at, what.size(), by);
  }
  return text;
}

// A token with what each of them escapes, and what both alphabets of base64 have.
constexpr const char* kOdd = "rt/LIVE_0123>>>???456789~a+b&b=c%d";

std::map<std::string, std::string> encoded_forms(const std::string& token) {
  std::map<std::string, std::string> forms;
  for (const std::string before : {"", "a", "ab"}) {
    const std::string shift = std::to_string(before.size());
    forms["base64 at " + shift] = base64(before + token + "tail", "+/");
    forms["url base64 at " + shift] = base64(before + token + "tail", "-_");
    forms["base64 in letters at " + shift] = "key" + base64(before + token, "+/") + "==";
  }
  std::string wrapped = base64("user:" + token, "+/");
  wrapped.insert(20, "\r\n");
  forms["base64 in lines"] = wrapped;
  for (const std::string end : {"\n  ", "\r\n\t", " \n", " "}) {
    std::string indented = base64("user:" + token, "+/");
    indented.insert(20, end);
    forms["base64 in lines with '" + end + "'"] = indented;
  }
  for (const std::string between : {" ", ":", "\n", "\r\n  "}) {
    forms["hex with '" + between + "'"] = bytewise(token, "", false, between);
  }
  forms["base64 of base64"] = base64(base64(token, "+/"), "+/");
  forms["base64 of JSON"] = base64(json{{"t", token}}.dump(), "+/");
  forms["hex"] = bytewise(token, "", false);
  forms["HEX"] = "0x" + bytewise(token, "", true);
  forms["hex after a digit"] = "f" + bytewise(token, "", false);
  forms["percent, all"] = bytewise(token, "%", true);
  forms["percent"] = "https://x.example/?t=" +
                     replaced(replaced(replaced(token, "%", "%25"), "/", "%2f"), "+", "%2B");
  forms["percent twice"] = bytewise(bytewise(token, "%", true), "%", false);
  forms["JSON"] = "\"" + replaced(token, "/", "\\/") + "\"";
  forms["JSON, all"] = bytewise(token, "\\u00", false);
  forms["JSON in JSON"] = json(forms["JSON"]).dump();
  forms["HTML"] = "<b>" + replaced(replaced(token, "&", "&amp;"), ">", "&gt;") + "</b>";
  forms["HTML, all"] = bytewise(token, "&#x", false, ";");
  forms["HTML by other names"] = replaced(replaced(token, "_", "&UnderBar;"), "?", "&quest;");
  forms["letters beside it"] = "prefix" + token + "suffix";
  forms["underscore beside it"] = "x_" + token + "_y";
  return forms;
}

class EncodedTest : public WithheldTest {
 protected:
  // What is left of a row with these fields, and the same as names.
  json left_of(const std::map<std::string, std::string>& fields, const std::string& token) {
    json row = grant_row("aaa", token);
    for (const auto& [name, text] : fields) {
      row["as value"][name] = text;
      row["as name"][name] = {{text, 1}};
    }
    const Store store = imported("auth.json", pool("nous", {row}));
    return exported(store, "hermes", false)["credential_pool"]["nous"][0];
  }
};

TEST_F(EncodedTest, ATokenIsFoundInWhateverEncodingItStands) {
  for (const std::string token : {kLive, kOdd}) {
    const auto forms = encoded_forms(token);

    const json left = left_of(forms, token);

    for (const auto& [name, text] : forms) {
      EXPECT_TRUE(left["as value"].at(name).is_null()) << name << ": " << text;
      EXPECT_TRUE(left["as name"].at(name).empty()) << name << ": " << text;
    }
  }
}

TEST_F(EncodedTest, AnotherCredentialsTokenAndASpentOneAreFoundToo) {
  const std::string second = "rt-SECOND-0123456789-abcdef";
  auto row = grant_row("aaa", kLive);
  const std::string basic = base64(std::string("user:") + kLive, "+/");
  row["memo"] = base64(second, "-_");
  row["spent"] = basic;
  Store store = imported("auth.json", pool("nous", {row, grant_row("bbb", second)}));
  RotateRequest request;
  request.force = true;
  const auto rows = *store.list({});
  for (const auto& credential : rows) {
    if (credential.refresh_hash != token_hash(std::string_view(kLive))) continue;
    will(test::grants("rt-NEXT-0123456789-abcdef", "at-NEXT"));
    ASSERT_TRUE(rotate(store, credential.uid, request));
  }

  const std::string left = exported(store, "hermes", false).dump();

  EXPECT_THAT(left, Not(HasSubstr(base64(second, "-_"))));
  EXPECT_THAT(left, Not(HasSubstr(basic)));
}

TEST_F(EncodedTest, WhatIsEncodedAndHoldsNoneStays) {
  const std::map<std::string, std::string> harmless_forms =
      encoded_forms("at-LIVE-0123456789-abcdef");

  const json left = left_of(harmless_forms, kLive);

  for (const auto& [name, text] : harmless_forms) EXPECT_EQ(left["as value"].at(name), text);
}

TEST_F(WithheldTest, ARowThatHadARefreshTokenAloneShowsNoFingerprintForOne) {
  auto row = grant_row("aaa", kLive);
  row.erase("access_token");
  row["secret_fingerprint"] = fingerprint(token_hash("something else"));
  const Store store = imported("auth.json", pool("nous", {row}));

  EXPECT_EQ(exported(store, "hermes", true)["credential_pool"]["nous"][0]["refresh_token"], kLive);
  EXPECT_EQ(exported(store, "hermes", false)["credential_pool"]["nous"][0]["refresh_token"],
            nullptr);
}

}  // namespace
}  // namespace authdb::migrate
