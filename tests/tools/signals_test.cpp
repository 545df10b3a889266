#include "tools/signals.h"

#include <gtest/gtest.h>

namespace authdb::cli {
namespace {

volatile std::sig_atomic_t arrived = 0;

class SignalShieldTest : public testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    arrived = 0;
    before_ = std::signal(GetParam(), [](int) { arrived = arrived + 1; });
  }
  void TearDown() override { std::signal(GetParam(), before_); }

 private:
  void (*before_)(int) = SIG_DFL;
};

TEST_P(SignalShieldTest, ASignalTakesEffectWhenTheShieldGoes) {
  {
    const SignalShield shield;
    std::raise(GetParam());
    EXPECT_EQ(arrived, 0);
  }
  EXPECT_EQ(arrived, 1);
}

TEST_P(SignalShieldTest, AnInnerShieldDoesNotOpenTheOuterOne) {
  const SignalShield outer;
  { const SignalShield inner; }
  std::raise(GetParam());
  EXPECT_EQ(arrived, 0);
}

INSTANTIATE_TEST_SUITE_P(Signals, SignalShieldTest,
                         testing::Values(SIGINT, SIGTERM, SIGHUP, SIGPIPE));

}  // namespace
}  // namespace authdb::cli
