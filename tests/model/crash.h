// An action in a process that dies: a fork does it, talks to the server in the parent, and is gone
// at the system call that was chosen.
#pragma once

#include <string>

#include "tests/model/actions.h"
#include "tests/model/world.h"

namespace authdb::model {

// `doing` is the parent's: what the child's requests came to is counted there.
Outcome do_and_die(World& world, const Step& step, const Prepared& prepared, Acting& doing);

// In the child.
Answer ask_parent(World& world, const Acting& doing, bool mint, const std::string& credential);

}  // namespace authdb::model
