// A scratch directory, and the reasons for which nothing can be killed here.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "tools/prove/stage.h"
#include "tools/prove/tracer.h"

namespace authdb::prove {

class CrashTest : public testing::Test {
 protected:
  void SetUp() override {
    // Containers forbid it; the kit says "partly proved" there.
    if (const auto why = why_no_tracing()) GTEST_SKIP() << "ptrace is not permitted: " << *why;
  }

  // Nothing was violated; else the evidence stays where the message says.
  void expect_none(const std::vector<std::string>& violations) {
    EXPECT_THAT(violations, testing::IsEmpty()) << "evidence: " << scratch_.path();
    if (!violations.empty()) scratch_.keep();
  }

  // In memory where that can be had: what a killed process leaves is in the kernel's hands either
  // way, and a thousand deaths cost no thousand waits for the disk.
  static std::filesystem::path where() {
    if (::access("/dev/shm", W_OK) == 0) return "/dev/shm";
    return std::filesystem::temp_directory_path();
  }

  Scratch scratch_{where()};
};

}  // namespace authdb::prove
