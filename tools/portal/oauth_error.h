// A refusal in the words of OAuth, before a dialect gives it its shape.
#pragma once

#include <string>
#include <tl/expected.hpp>

namespace authdb::portal {

struct OauthError {
  int status = 400;
  std::string code{};
  std::string description{};
};

template <typename T>
using Granted = tl::expected<T, OauthError>;

}  // namespace authdb::portal
