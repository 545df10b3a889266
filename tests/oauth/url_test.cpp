#include "oauth/url.h"

#include <gtest/gtest.h>

namespace authdb::oauth {
namespace {

TEST(Url, IsReadIntoItsParts) {
  const auto url = parse_url("HTTPS://Portal.Example.com:8443/a/b?c=d");

  ASSERT_TRUE(url);
  EXPECT_EQ(url->scheme, "https");
  EXPECT_EQ(url->host, "portal.example.com");
  EXPECT_EQ(url->port, "8443");
  EXPECT_EQ(url->path, "/a/b?c=d");
}

TEST(Url, MayNameAnIpv6Address) {
  const auto url = parse_url("http://[::1]:80/x");

  ASSERT_TRUE(url);
  EXPECT_EQ(url->host, "::1");
}

TEST(Url, WritesAnAddressAndAPortInOneWay) {
  const auto v6 = parse_url("http://[0:0:0:0:0:0:0:1]:0080/x");

  ASSERT_TRUE(v6);
  EXPECT_EQ(v6->host, "::1");
  EXPECT_EQ(v6->port, "80");
  EXPECT_EQ(parse_url("http://127.0.0.1/")->host, "127.0.0.1");
}

TEST(Url, OfAnAddressThatIsSpelledAsANameIsNone) {
  for (const char* host :
       {"127.1", "0x7f.1", "0x7f000001", "2130706433", "0177.0.0.1", "127.0.0.01", "1.2.3.4.",
        "1.2.3.0X4", "256.1.1.1", "a.example.127", "0x"}) {
    EXPECT_FALSE(parse_url("https://" + std::string(host) + "/")) << host;
  }
  for (const char* host : {"127.0.0.1.example", "0x7f.example", "1a", "a.1b"}) {
    EXPECT_TRUE(parse_url("https://" + std::string(host) + "/")) << host;
  }
}

TEST(Url, ThatTwoReadersMightReadDifferentlyIsNone) {
  for (const char* text :
       {"", "portal.example.com", "ftp://a.example", "https://", "https://user@a.example/",
        "https://a.example\\@b.example/", "https://a.example/#x", "https://a.example/ x",
        "https://a.example:0/", "https://a.example:99999/", "https://a.example:8x/",
        "https://[::1/", "https://[::1]x/", "https://[1]/", "https://a.example\n/",
        "https://a.example%40b/", "https:/a.example"}) {
    EXPECT_FALSE(parse_url(text)) << text;
  }
}

TEST(Url, LoopbackIsThisMachineAndNothingElse) {
  for (const char* host : {"127.0.0.1", "127.255.0.9", "::1", "localhost"}) {
    EXPECT_TRUE(is_loopback(host)) << host;
  }
  for (const char* host : {"127.0.0.1.example.com", "127.1", "128.0.0.1", "127.0.0.256", "0.0.0.0",
                           "127.0.0.01", "localhost.example.com", "", "::2", "127.0.0.1."}) {
    EXPECT_FALSE(is_loopback(host)) << host;
  }
}

TEST(Url, JoiningNeverDoublesTheSlash) {
  EXPECT_EQ(join_url("https://a.example/", "/x"), "https://a.example/x");
  EXPECT_EQ(join_url("https://a.example", "x"), "https://a.example/x");
  EXPECT_EQ(join_url("https://a.example/p//", "//x"), "https://a.example/p/x");
}

}  // namespace
}  // namespace authdb::oauth
