// The redirect's end on this machine (RFC 8252 section 7.3): one address on 127.0.0.1 that waits
// for the browser to come back, tells it that all is done, and is closed.
//
// Thread safety: none.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "oauth/authorization.h"
#include "store/result.h"

namespace authdb::oauth {

class LoopbackListener {
 public:
  // `redirect_uri` is http on loopback; without a port any free one is taken, and without a URI at
  // all /callback. try_later if the port is taken; usage if it is no such URI.
  static Result<LoopbackListener> open(const std::string& redirect_uri);
  ~LoopbackListener();
  LoopbackListener(LoopbackListener&&) noexcept;
  LoopbackListener& operator=(LoopbackListener&&) noexcept;

  // As the authorization request must name it, port included.
  const std::string& redirect_uri() const;

  // The first query that is `ours`; browsers that come with another, or for another page, are told
  // so and not listened to. nullopt after `patience`.
  std::optional<Query> wait(Milliseconds patience, const std::function<bool(const Query&)>& ours);

 private:
  struct Listening;
  explicit LoopbackListener(std::unique_ptr<Listening> listening);
  std::unique_ptr<Listening> listening_;
};

}  // namespace authdb::oauth
