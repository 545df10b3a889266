// A store with one login that has been rotated once.
#pragma once

#include "tests/store/store_fixture.h"

namespace authdb::test {

class RotatedTest : public StoreTest {
 protected:
  void SetUp() override {
    Store store = open();
    uid_ = add_login(store);
    rotate_to(2);
  }
  void rotate_to(int generation) {
    Store store = open(OpenMode::use);
    const std::string number = std::to_string(generation);
    will(grants("refresh-a-" + number, "access-a-" + number));
    const auto rotated = rotate(store, uid_, {.force = true});
    ASSERT_TRUE(rotated) << rotated.error().message;
  }

  Uid uid_;
};

}  // namespace authdb::test
