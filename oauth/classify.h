// What an error answer of a token endpoint means. HTTP status decides first; only an error that the
// token endpoint itself wrote, with 4xx or with 200, can say anything about the token that was
// sent. Pure, thread-safe.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "oauth/provider.h"
#include "oauth/token_answer.h"
#include "store/token_endpoint.h"

namespace authdb::oauth {

// The two shapes of error bodies: {"error":"code","error_description":…} and
// {"error":{"code"|"type":…,"message":…}}. As the server wrote them: scrub before showing.
struct ErrorBody {
  bool json = false;  // a whole object or form, or at least a whole error code
  std::string code;
  std::string description;
  bool blank = false;  // all of it arrived, and there is nothing in it
};
ErrorBody read_error(const TokenAnswer& answer);

struct Verdict {
  Ruling ruling = Ruling::uncertain;
  FailureClass failure = FailureClass::transient;
  bool reuse = false;
  bool unknown = false;  // a refusal (4xx, no page) that neither table knows
};

// `status` is not 2xx, or it is and the answer holds no grant.
Verdict classify(int status, const ErrorBody& body, const std::vector<ErrorRule>& rules);

// The server says that the token had been spent before, by its code or in its words.
bool says_reuse(const ErrorBody& body);

// A whole pair that is not the one that was sent is a grant whatever its status: something on the
// way has changed the status, and the token or the code that was sent is spent.
bool brings_a_new_pair(const Answer& answer);

}  // namespace authdb::oauth
