// A whole history: a fresh world, its steps, and at the end the question whether every login that
// the server still honours can be renewed.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "tests/model/failure.h"
#include "tests/model/step.h"

namespace authdb::model {

struct Ran {
  std::optional<Failure> failure;
  std::size_t steps = 0;  // until it failed; one more than there are: at the end
  std::map<std::string, int> tolerated;
};

struct Setting {
  std::filesystem::path home;  // emptied for each history
  std::set<std::string> allowed;
  std::set<std::string> wanted;
  std::map<std::string, int>* coverage = nullptr;
  bool trace = false;  // each step on stderr: how it ended, and how long it took
};

Ran run(const History& history, const Setting& setting);

}  // namespace authdb::model
