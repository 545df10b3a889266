// An HTTP answer before it is put on the wire, and what a fault makes of it.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tools/portal/fault.h"
#include "tools/portal/pauses.h"

namespace authdb::portal {

struct Answer {
  int status = 200;
  std::string body{};
  std::string content_type = "application/json";
  std::vector<std::pair<std::string, std::string>> headers{};
};

Answer json_answer(int status, const nlohmann::json& body);

// Answers by `process`, which is what spends tokens, or not, as `fault` wants it, and waits where
// it says so. Nothing: the connection closes without a byte, because the fault drops it or
// because the portal stopped during a wait (and before `process`, if it had not been called yet).
std::optional<Answer> answer_with(const Fault& fault, Pauses& pauses,
                                  const std::function<Answer()>& process);

}  // namespace authdb::portal
