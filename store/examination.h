// What looking at a store (doctor.cpp) and mending it (repair.cpp) share. Private to store/.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "store/cell_check.h"
#include "store/doctor.h"
#include "store/engine.h"

namespace authdb {

// Of a store that is open.
std::vector<Finding> examine(const Store& store);
// Of one that is not, and why.
std::vector<Finding> cannot_open(const Error& error);

// None where the keys cannot be had: that is a finding of its own.
std::vector<DamagedCell> damaged_cells(Engine& engine);

// Drafts of processes that were killed, or are at work, and damaged files that were set aside.
std::vector<std::filesystem::path> leftover_files(const Engine& engine);
bool is_set_aside(const std::string& name);

}  // namespace authdb
