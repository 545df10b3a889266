// The fields of a token endpoint's answer: of a JSON object or a form (RFC 6749 wants the first,
// some servers send the second), in whatever it is wrapped (answer_text.h), with the members of
// `data` as its own where a server puts them one level down. Bytes after the object do not matter.
//
// Of a body that was cut or is broken, what came before counts, as far as it is whole: strings with
// their closing quote, numbers and a form's fields with something after them. Numbers that JSON has
// no room for
// (`1e999`, `NaN`) count as null. Wipes what it read.
//
// Thread safety: as a plain value.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "store/secret.h"
#include "store/token_endpoint.h"

namespace authdb::oauth {

class TokenAnswer {
 public:
  explicit TokenAnswer(const Answer& answer)
      : TokenAnswer(answer.body.reveal(), answer.complete, answer.sent.reveal()) {}
  // `complete`: these are all bytes that the server meant to send. `sent`: the refresh token that
  // it answers, which tells nothing new.
  explicit TokenAnswer(std::string_view body, bool complete = true, std::string_view sent = {});
  TokenAnswer(TokenAnswer&&) noexcept;
  TokenAnswer& operator=(TokenAnswer&&) noexcept;
  // NOLINTNEXTLINE(bugprone-exception-escape): types are asked before they are used
  ~TokenAnswer();

  // All of an object or a form arrived: what is not in it was not sent.
  bool is_whole() const { return whole_; }
  // All of it arrived, and there is nothing in it.
  bool is_blank() const { return blank_; }
  // An object, whole or what is left of one; empty if the body was no object at all.
  const nlohmann::json& fields() const { return *fields_; }

  // A member that is a non-blank string, trimmed; else empty. One with control characters is none:
  // it would end up in headers and on terminals.
  std::string_view text(std::string_view key) const;
  // Something stands there, neither null nor a blank string, that text() does not give.
  bool is_unusable(std::string_view key) const;
  Secret secret(std::string_view key) const { return Secret::copy_of(text(key)); }
  // Sorted, comma-separated, scrubbed: what may be said of an answer without saying it.
  std::string key_names() const;

 private:
  std::unique_ptr<nlohmann::json> fields_;
  bool whole_ = false;
  bool blank_ = false;
};

// Whether a body can be told from one that was cut: by the end of its object, or of what it is
// compressed in. A form cannot.
bool shows_its_end(std::string_view body);

}  // namespace authdb::oauth
