// The way from the store to the token server. In a process that may die it asks the parent, who has
// the server and the books.
#pragma once

#include <memory>
#include <string>

#include "oauth/http.h"
#include "tests/model/world.h"

namespace authdb::model {

std::shared_ptr<oauth::HttpTransport> wire_of(World& world);

// One request that has left, in the process that has the server: judged, worked on, answered.
Answer serve(World& world, Acting& doing, bool mint, const std::string& credential);

// The server works on what was late.
void work_on_late_requests(World& world);

}  // namespace authdb::model
