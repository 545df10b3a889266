// A portal per test, and the requests of a client, sent by curl.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/portal/process.h"
#include "tools/portal/portal.h"

namespace authdb::portal {

class PortalTest : public testing::Test {
 protected:
  explicit PortalTest(const Options& options = {}) : portal(options) {}

  std::string url(const std::string& path) const { return portal.base_url() + path; }

  Reply refresh(const std::string& refresh_token) const {
    return curl(url("/api/oauth/token"),
                {"-d", "grant_type=refresh_token", "-d", "client_id=hermes-cli", "-d",
                 "refresh_token=" + refresh_token});
  }

  Reply refresh_by_header(const std::string& refresh_token) const {
    return curl(url("/api/oauth/token"),
                {"-H", "x-nous-refresh-token: " + refresh_token, "-d", "grant_type=refresh_token",
                 "-d", "client_id=hermes-cli"});
  }

  Reply mint(const std::string& access_token) const {
    return curl(url("/api/oauth/agent-key"),
                {"-H", "Authorization: Bearer " + access_token, "-H",
                 "Content-Type: application/json", "-d", R"({"min_ttl_seconds": 1800})"});
  }

  Reply infer(const std::string& bearer) const {
    return curl(url("/v1/chat/completions"),
                {"-H", "Authorization: Bearer " + bearer, "-d", R"({"messages": []})"});
  }

  Reply control(const std::string& path, const std::string& body) const {
    return curl(url("/_control/" + path), {"-d", body});
  }

  Portal portal;
};

}  // namespace authdb::portal
