// What a token request leaves in the memory of its process, when every Secret of it is gone: the
// process looks through its own heap, stacks and data.
#include <algorithm>
#include <fstream>
#include <sstream>

#include "bearer_fixture.h"
#include "tls_server.h"

namespace authdb::oauth {
namespace {

using testing::IsEmpty;
using testing::Not;

constexpr std::size_t kLength = 64;

// Made a character at a time, so that looking for a token leaves no copy of it.
char character(unsigned token, std::size_t at) {
  unsigned mixed = (token * 2654435761U) ^ (static_cast<unsigned>(at) * 2246822519U);
  mixed ^= mixed >> 15U;
  mixed *= 2654435761U;
  return static_cast<char>('a' + (mixed >> 16U) % 26);
}

Secret made(unsigned token) {
  std::vector<char> text;
  text.reserve(kLength);
  for (std::size_t at = 0; at < kLength; ++at) text.push_back(character(token, at));
  return Secret(std::move(text));
}

// The middle of it: the allocator itself writes over the beginning of what it got back.
bool stands_at(const char* place, unsigned token) {
  for (std::size_t at = 24; at < 40; ++at) {
    if (place[at - 24] != character(token, at)) return false;
  }
  return true;
}

// What stands before it, which tells whose memory it was.
std::string before(const char* place, const char* begin) {
  constexpr std::ptrdiff_t kShown = 100;
  std::string out(place - std::min(place - begin, kShown), place);
  std::replace_if(
      out.begin(), out.end(), [](char c) { return c < ' ' || c > '~'; }, '.');
  return out;
}

// Where it is found: the name of the mapping, and what stands before it there.
std::vector<std::string> places_of(unsigned token) {
  std::vector<std::string> found;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    std::istringstream words(line);
    std::uintptr_t begin = 0;
    std::uintptr_t end = 0;
    char dash = 0;
    std::string permissions;
    std::string skipped;
    std::string name;
    words >> std::hex >> begin >> dash >> end >> permissions >> skipped >> skipped >> skipped;
    std::getline(words >> std::ws, name);
    if (!permissions.starts_with("rw")) continue;
    const auto* const first = reinterpret_cast<const char*>(begin);
    const auto* const last = reinterpret_cast<const char*>(end) - kLength;
    for (const char* at = first; at <= last; ++at) {
      if (stands_at(at, token)) found.push_back(name + " " + before(at, first));
    }
  }
  return found;
}

class MemoryTest : public BearerTest {
 protected:
  static constexpr unsigned kOld = 11;
  static constexpr unsigned kNew = 12;

  void SetUp() override {
    http_ = curl_transport();
    provider_ = "acme";
    const auto file = directory_ / "providers.d" / "acme.json";
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << R"({"id":"acme","client_id":"c","token_endpoint":")"
                        << server_.url(Certificate::good) << R"(","ca_file":")" << server_.ca_file()
                        << body_ << "\"}";
    std::filesystem::permissions(file, std::filesystem::perms(0600));
    registry_ = ProviderRegistry::load(file.parent_path());
  }
  void refresh() {
    Seed seed = jwt_seed();
    seed.provider = "acme";
    seed.refresh = text(made(kOld));
    seed.expires_in = Seconds{-1};
    const Uid uid = add(seed);
    ASSERT_EQ(text(bearer()), "at-over-tls");
    const auto grant = open().unseal(uid);
    ASSERT_EQ(text(grant->refresh_token), text(made(kNew)));
    ASSERT_THAT(places_of(kNew), Not(IsEmpty())) << "the search finds what is there";
  }

  std::string body_;
  TlsServer server_{text(made(kNew))};
};

TEST_F(MemoryTest, ARefreshLeavesNeitherTheOldNorTheNewRefreshTokenBehind) {
  refresh();

  EXPECT_THAT(places_of(kOld), IsEmpty());
  EXPECT_THAT(places_of(kNew), IsEmpty());
}

TEST_F(MemoryTest, NeitherDoesOneWithABodyOfJsonOrATokenInAHeader) {
  for (const char* how : {R"(","token_body":"json)", R"(","refresh_token_in":"header:x-refresh)"}) {
    body_ = how;
    SetUp();
    refresh();

    EXPECT_THAT(places_of(kOld), IsEmpty()) << how;
    EXPECT_THAT(places_of(kNew), IsEmpty()) << how;
    std::filesystem::remove_all(directory_ / "store");
  }
}

}  // namespace
}  // namespace authdb::oauth
