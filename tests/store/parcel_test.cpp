#include "store/parcel.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace authdb {
namespace {

Identity identity() {
  return {"nous",       "label",        AuthType::oauth,  "device_code",
          "fid",        "account",      "client",         "a b",
          "Bearer",     "https://base", "https://portal", "https://inference",
          "/etc/ca.pem"};
}

Grant grant() {
  Grant made;
  made.access_token = Secret::copy_of("access");
  made.refresh_token = Secret::copy_of("refresh");
  made.obtained_at = at_millis(1'790'000'000'001);
  made.obtained_derived = true;
  made.expires_at = at_millis(1'790'000'900'000);
  made.bearer_kind = BearerKind::agent_key;
  made.account = "acc";
  made.subject = {"by access", "by id", "stated"};
  return made;
}

TEST(Parcel, ComesBackAsItWentIn) {
  const auto back = unpack(pack(identity(), grant()));

  ASSERT_TRUE(back);
  EXPECT_EQ(back->identity.provider, "nous");
  EXPECT_EQ(back->identity.inference_base_url, "https://inference");
  EXPECT_EQ(back->identity.ca_file, "/etc/ca.pem");
  EXPECT_EQ(back->identity.scope, "a b");
  EXPECT_EQ(back->grant.access_token.reveal(), "access");
  EXPECT_EQ(back->grant.refresh_token.reveal(), "refresh");
  EXPECT_EQ(back->grant.obtained_at, at_millis(1'790'000'000'001));
  EXPECT_TRUE(back->grant.obtained_derived);
  EXPECT_EQ(back->grant.session_ends_at, std::nullopt);
  EXPECT_EQ(back->grant.bearer_kind, BearerKind::agent_key);
  EXPECT_EQ(back->grant.account, "acc");
  EXPECT_EQ(back->grant.subject.access, "by access");
  EXPECT_EQ(back->grant.subject.id, "by id");
  EXPECT_EQ(back->grant.subject.stated, "stated");
}

// Where a parcel ends that was packed before a field was added: those came last.
std::vector<std::size_t> older_ends(const Secret& whole) {
  std::vector<std::size_t> ends;
  std::size_t end = whole.size();
  const Subjects subject = grant().subject;
  end -= 4 + subject.stated.size() + 4 + subject.id.size();
  ends.push_back(end);
  for (const std::string& field : {subject.access, grant().account, identity().ca_file}) {
    end -= 4 + field.size();
    ends.push_back(end);
  }
  return ends;
}

TEST(Parcel, CutAnywhereItIsNotAParcel) {
  const Secret whole = pack(identity(), grant());
  const auto ends = older_ends(whole);
  for (std::size_t length = 0; length < whole.size(); ++length) {
    if (std::find(ends.begin(), ends.end(), length) != ends.end()) continue;
    EXPECT_FALSE(unpack(Secret::copy_of(whole.reveal().substr(0, length)))) << length;
  }
}

TEST(Parcel, OfAnOlderProgramIsReadWithoutTheFieldsItLacked) {
  const Secret whole = pack(identity(), grant());
  for (const std::size_t end : older_ends(whole)) {
    const auto parcel = unpack(Secret::copy_of(whole.reveal().substr(0, end)));

    ASSERT_TRUE(parcel) << end;
    EXPECT_TRUE(parcel->grant.subject.empty()) << "which place it was from is not known";
    const Grant packed = grant();
    EXPECT_EQ(parcel->grant.refresh_token.reveal(), packed.refresh_token.reveal());
  }
}

TEST(Parcel, AnotherFormatIsNotGuessedAt) {
  std::string other(pack(identity(), grant()).clone().size(), '\0');
  const Secret whole = pack(identity(), grant());
  other = whole.reveal();
  other[4] = '2';

  EXPECT_FALSE(unpack(Secret::copy_of(other)));
}

TEST(Parcel, ALengthBeyondTheEndIsNotFollowed) {
  EXPECT_FALSE(unpack(Secret::copy_of(std::string("\xff\xff\xff\xff", 4))));
}

TEST(Parcel, FieldsAppendedByANewerProgramAreLeftAlone) {
  const Secret whole = pack(identity(), grant());
  const std::string longer = std::string(whole.reveal()) + std::string("\x01\0\0\0x", 5);

  EXPECT_TRUE(unpack(Secret::copy_of(longer)));
}

}  // namespace
}  // namespace authdb
