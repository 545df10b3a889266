// Logins against the simulator over real HTTP. Nothing sleeps: waiting moves both clocks, and the
// person is a function that is called at each wait.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fakes.h"
#include "oauth/login.h"
#include "tools/portal/portal.h"

namespace authdb::oauth {

constexpr Instant kLoginStart = at_millis(1'790'000'000'000);

class LoginTest : public testing::Test {
 protected:
  LoginTest() {
    portal_.freeze();
    portal_.set_now_ms(to_millis(now_));
    parts_.http = curl_transport();
    parts_.environment = no_environment();
    parts_.clock = [this] { return now_; };
    parts_.wait = [this](Milliseconds span) {
      waits_.push_back(std::chrono::duration_cast<Seconds>(span).count());
      now_ += span;
      portal_.advance(span);
      if (person_) person_();
    };
    parts_.tell = [this](const LoginEvent& event) {
      events_.push_back(event);
      if (reader_) reader_(event);
    };
    parts_.shield = [this] {
      ++shields_;
      return std::shared_ptr<void>(nullptr, [this](void*) { --shields_; });
    };
  }

  static portal::Options portal_options() {
    portal::Options options;
    options.era = portal::Era::kJwt;
    options.clock_ms = to_millis(kLoginStart);
    return options;
  }

  // The built-in provider with its servers on the simulator.
  Provider at_portal(const std::string& id) {
    Provider provider = *registry_.find(id);
    const std::string base = portal_.base_url();
    if (!provider.portal_base_url.empty()) provider.portal_base_url = base;
    for (std::string Provider::*url :
         {&Provider::token_endpoint, &Provider::device_authorization_endpoint,
          &Provider::device_token_endpoint, &Provider::verification_uri,
          &Provider::authorization_endpoint}) {
      std::string& text = provider.*url;
      if (text.starts_with("https://")) text = base + text.substr(text.find('/', 8));
    }
    if (!provider.issuer.empty()) provider.issuer = base;
    return provider;
  }

  // A standard server, as a user's file describes it.
  Provider standard() {
    Provider provider;
    provider.id = "acme";
    provider.client_id = "app";
    provider.scope = "inference:invoke";
    provider.token_endpoint = portal_.base_url() + "/oauth/token";
    provider.device_authorization_endpoint = portal_.base_url() + "/api/oauth/device/code";
    provider.authorization_endpoint = portal_.base_url() + "/oauth/authorize";
    return provider;
  }

  Result<NewSession> log_in(Provider provider, const std::string& flow) {
    provider_ = std::move(provider);
    parts_.provider = &provider_;
    return oauth::log_in(parts_, flow);
  }
  Result<NewSession> device() { return log_in(standard(), "device"); }

  // The person says yes at the n-th wait.
  void approve_at(std::size_t wait, const std::string& account = "ada") {
    person_ = [this, wait, account] {
      if (waits_.size() == wait) {
        EXPECT_TRUE(portal_.approve_device(events_.front().user_code, account));
      }
    };
  }

  void refuse_polls(int times, int status, const std::string& body,
                    const std::string& retry_after = {}) {
    portal::Fault fault;
    fault.times = times;
    fault.status = status;
    fault.body = body;
    fault.retry_after = retry_after;
    portal_.add_fault(fault);
  }

  Instant now_ = kLoginStart;
  portal::Portal portal_{portal_options()};
  ProviderRegistry registry_ = ProviderRegistry::load("/nonexistent");
  Provider provider_;
  LoginParts parts_;
  std::vector<std::int64_t> waits_;  // seconds
  std::vector<LoginEvent> events_;
  std::function<void()> person_;
  std::function<void(const LoginEvent&)> reader_;
  int shields_ = 0;  // that exist now
};

inline std::string revealed(const Secret& secret) { return std::string(secret.reveal()); }

}  // namespace authdb::oauth
