// A file of another tool that this store keeps supplied with access tokens: what the store
// remembers of it. migrate/takeover/projection.h writes the file.
#pragma once

#include <string>
#include <vector>

#include "store/clock.h"
#include "store/credential.h"

namespace authdb {

// One access token that the file was given.
struct ProjectedToken {
  Uid credential;
  std::string place;        // a JSON pointer into the file
  std::string fingerprint;  // of the access token

  bool operator==(const ProjectedToken&) const = default;
};

struct Projection {
  std::string path;     // links resolved
  std::string format;   // which tool's file it is, in the words of migrate/formats/format.h
  std::string profile;  // whose file
  Instant written_at{};
  // What it holds. While it is being rewritten: what it held and what it will hold.
  std::vector<ProjectedToken> tokens;
};

}  // namespace authdb
