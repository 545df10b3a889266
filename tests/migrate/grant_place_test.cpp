// Another grant in the place of one: what is written keeps the spelling that stood there.
#include "migrate/formats/grant_place.h"

#include "store/timestamp.h"
#include "tests/migrate/support.h"

namespace authdb::migrate {
namespace {

using namespace authdb::migrate::testing;

const Instant kObtained = at_millis(1'795'000'000'000);  // 2026-11-18T11:06:40Z
const Instant kExpires = kObtained + Seconds{3600};

Held held() {
  Held one;
  one.access_token = Secret::copy_of("at-new");
  one.refresh_token = Secret::copy_of("rt-new");
  one.row.access_fingerprint = fingerprint(one.access_token);
  one.row.refresh_hash = token_hash(one.refresh_token);
  one.row.identity.provider = "nous";
  one.row.identity.auth_type = AuthType::oauth;
  one.row.obtained_at = kObtained;
  one.row.expires_at = kExpires;
  return one;
}

json put(json object, const Held& grant = held()) {
  object["access_token"] = "at-old";
  GrantPlace("", "nous", object, {}).put(grant, false);
  return object;
}

TEST(GrantPlace, ATimeIsWrittenInTheSpellingThatStands) {
  const json millis = to_millis(kObtained);
  const json seconds = to_millis(kObtained) / 1000;
  const json zulu = "2026-11-18T11:06:40Z";
  const json offset = "2026-11-18T11:06:40+00:00";
  for (const char* key : {"obtained_at", "last_refresh", "expires_at"}) {
    for (const auto& [before, after] :
         std::vector<std::pair<json, json>>{{1'700'000'000, seconds},
                                            {1'700'000'000'000, millis},
                                            {"2025-01-01T00:00:00Z", zulu},
                                            {"2025-01-01T00:00:00+00:00", offset},
                                            {nullptr, offset}}) {
      Held grant = held();
      grant.row.expires_at = kObtained;
      EXPECT_EQ(put({{key, before}}, grant)[key], after) << key << " " << before;
    }
  }
  for (const char* key : {"expires_at_ms", "expiresAt", "expiry_date", "expires"}) {
    for (const json& before : {json(0), json(1'700'000'000'000), json()}) {
      EXPECT_EQ(put({{key, before}})[key], to_millis(kExpires)) << key << " " << before;
    }
  }
}

TEST(GrantPlace, ATimeThatIsTheSameKeepsItsBytes) {
  for (const json& said :
       {json("2026-11-18T11:06:40.000000Z"), json("2026-11-18T12:06:40+01:00"), json(1795000000)}) {
    EXPECT_EQ(put({{"last_refresh", said}})["last_refresh"], said);
  }
}

TEST(GrantPlace, TheTimesOfAnAgentKeyAreTextWhereNothingSaysOtherwise) {
  Held grant = held();
  grant.row.bearer_kind = BearerKind::agent_key;
  grant.agent_key = Secret::copy_of("ak-new");
  grant.row.agent_key_fingerprint = fingerprint(grant.agent_key);
  grant.row.agent_key_obtained_at = kObtained;
  grant.row.agent_key_expires_at = kExpires;

  const json row = put({{"agent_key", nullptr},
                        {"agent_key_obtained_at", nullptr},
                        {"agent_key_expires_at", nullptr}},
                       grant);

  EXPECT_EQ(row["agent_key"], "ak-new");
  EXPECT_EQ(row["agent_key_obtained_at"], "2026-11-18T11:06:40+00:00");
  EXPECT_EQ(row["agent_key_expires_at"], "2026-11-18T12:06:40+00:00");
}

// A clock that was ahead has obtained it: the tokens are the same, their end is not.
TEST(GrantPlace, P8_TheEndOfTheSameAgentKeyIsStatedAnew) {
  for (const BearerKind kind : {BearerKind::agent_key, BearerKind::access_token}) {
    Held grant = held();
    grant.row.bearer_kind = kind;
    const bool mirrored = kind == BearerKind::access_token;
    if (!mirrored) grant.agent_key = Secret::copy_of("ak");
    grant.row.agent_key_fingerprint = mirrored ? "" : fingerprint(grant.agent_key);
    grant.row.agent_key_expires_at = kExpires;
    json object{{"access_token", "at-new"},
                {"agent_key", mirrored ? "at-new" : "ak"},
                {"agent_key_id", "k1"},
                {"agent_key_expires_at", "2037-01-01T00:00:00Z"}};

    GrantPlace("", "nous", object, {}).put(grant, false);

    EXPECT_EQ(object["agent_key_expires_at"], "2026-11-18T12:06:40Z") << mirrored;
    EXPECT_EQ(object["agent_key_id"], "k1") << "it is the same key";
  }
}

TEST(GrantPlace, ATokenThatItsToolHasPutAwayStandsThereAgain) {
  json object{{"secret_fingerprint", "sha256:0123456789abcdef"}};
  GrantPlace("", "nous", object, {}).put(held(), false);
  EXPECT_EQ(object["access_token"], "at-new");
}

}  // namespace
}  // namespace authdb::migrate
