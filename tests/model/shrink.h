// The shortest history that still fails in the same way.
#pragma once

#include <functional>

#include "tests/model/step.h"

namespace authdb::model {

// `fails` runs a history; at most `budget` times.
History shrink(History history, const std::function<bool(const History&)>& fails, int budget = 600);

}  // namespace authdb::model
