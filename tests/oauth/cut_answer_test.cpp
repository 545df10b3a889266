// A 2xx that was cut at any byte, with its fields in any order. What should come of it is worked
// out here from where the values end, without reading any JSON.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "fakes.h"
#include "oauth/token_endpoint.h"

namespace authdb::oauth {
namespace {

struct Field {
  std::string name;
  std::string written;  // the value as it stands in the text
};

// A body, and where in it things are whole.
struct Written {
  std::string text;
  std::size_t access_end = std::string::npos;  // npos: it is not in there
  std::size_t refresh_end = std::string::npos;
  std::size_t object_end = 0;
};

Written write(const std::vector<Field>& fields, const std::string& before,
              const std::string& after) {
  Written out;
  out.text = before + "{";
  for (const Field& field : fields) {
    out.text += (&field == &fields.front() ? "\"" : ", \"") + field.name + "\" : " + field.written;
    if (field.name == "access_token") out.access_end = out.text.size();
    if (field.name == "refresh_token") out.refresh_end = out.text.size();
  }
  out.text += "}" + after;
  out.object_end = out.text.size();
  return out;
}

class CutAnswer : public testing::Test {
 protected:
  Judgement judged(std::string_view body, bool complete) const {
    Answer answer = answered(200, body);
    answer.complete = complete;
    return endpoint_.judge(answer);
  }

  void check(const Written& written, std::size_t end, bool complete) const {
    const std::string body = written.text.substr(0, end);
    const bool access = end >= written.access_end;
    const bool refresh = end >= written.refresh_end;
    const bool whole = complete && end >= written.object_end;
    const Judgement got = judged(body, complete);
    const bool granted = access && (refresh || whole);

    EXPECT_EQ(got.ruling, granted ? Ruling::granted : Ruling::uncertain) << complete << body;
    ASSERT_EQ(got.grant.has_value(), granted || refresh) << complete << body;
    if (!got.grant) return;
    EXPECT_EQ(got.grant->refresh_token.reveal(), refresh ? kRefresh : "") << body;
    EXPECT_EQ(got.grant->access_token.reveal(), granted ? kAccess : "") << body;
    const bool truly = got.grant->expires_at == answered(200, "").started_at + Seconds{3600} ||
                       got.grant->expires_at == answered(200, "").started_at + kFloor;
    EXPECT_TRUE(!granted || truly) << "half a number: " << body;
  }

  std::size_t sweep(const Written& written) const {
    for (std::size_t end = 0; end <= written.text.size(); ++end) {
      check(written, end, true);
      check(written, end, false);
    }
    return written.text.size();
  }

  static constexpr std::string_view kAccess = "at\"2/\\é";
  static constexpr std::string_view kRefresh = "rt-2\xf0\x9f\x98\x80";
  static constexpr Seconds kFloor{77};

  static Provider provider() {
    Provider provider;
    provider.id = "acme";
    provider.floor = kFloor;
    return provider;
  }
  const Provider provider_ = provider();
  const OAuthTokenEndpoint endpoint_{
      {&provider_, {}, nullptr, no_environment(), [] { return at_millis(0); }, nullptr}};
};

const Field kAccessField{"access_token", R"("at\"2\/\\\u00e9")"};
const Field kRefreshField{"refresh_token", R"("rt-2\ud83d\ude00")"};
const Field kExpiresField{"expires_in", "3600"};
// Tokens where none belong, and signs that would end strings and objects outside of this one.
const Field kNestedField{
    "extra",
    R"({"refresh_token":"inner","list":[{"access_token":"}]"}],"x":"\",\"refresh_token\":"})"};

TEST_F(CutAnswer, AtEveryByteOfEveryOrderOfFieldsOnlyWholeTokensCount) {
  const std::vector<Field> fields{kAccessField, kRefreshField, kExpiresField, kNestedField};
  std::vector<std::size_t> order{0, 1, 2, 3};
  std::size_t swept = 0;
  do {
    std::vector<Field> ordered;
    for (const std::size_t at : order) ordered.push_back(fields[at]);
    swept += sweep(write(ordered, "", ""));
  } while (std::next_permutation(order.begin(), order.end()));

  EXPECT_GT(swept, 24U * 150U);
}

TEST_F(CutAnswer, ACutInsideDataIsTheSame) {
  const std::vector<Field> fields{kAccessField, kNestedField, kRefreshField, kExpiresField};
  std::vector<Field> reversed(fields.rbegin(), fields.rend());

  sweep(write(fields, R"({"code":0,"data":)", R"(,"message":"refresh_token"})"));
  sweep(write(reversed, R"({"data":)", "}"));
}

TEST_F(CutAnswer, WithoutARefreshTokenOnlyTheWholeAnswerIsAGrant) {
  for (const char* without : {"", "null", "\"\"", "\"  \""}) {
    std::vector<Field> fields{kAccessField, kExpiresField, kNestedField};
    if (*without != '\0') fields.push_back({"refresh_token", without});
    Written written = write(fields, "", "");
    written.refresh_end = std::string::npos;
    sweep(written);
  }
}

TEST_F(CutAnswer, WithoutAnAccessTokenTheRefreshTokenIsKept) {
  sweep(write({kExpiresField, kRefreshField, kNestedField}, "", ""));
}

// From the first wrong byte on nothing is believed, not even what looks like a token again.
TEST_F(CutAnswer, WhatStandsBehindAMistakeDoesNotCount) {
  const Judgement got =
      judged(R"({"access_token":"at-1",,"refresh_token":"rt-1","access_token":"at-2"})", true);

  EXPECT_EQ(got.ruling, Ruling::uncertain);
  EXPECT_FALSE(got.grant);
}

}  // namespace
}  // namespace authdb::oauth
