// The JSON of a token endpoint's answer, read so that nothing usable in it is lost: numbers that
// JSON has no room for (`1e999`, `NaN`) count as null, and of a body that was cut short the strings
// that arrived whole remain. Wipes what it read.
//
// Thread safety: as a plain value.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/secret.h"

namespace authdb::oauth {

class TokenAnswer {
 public:
  explicit TokenAnswer(std::string_view body);
  TokenAnswer(TokenAnswer&&) noexcept;
  TokenAnswer& operator=(TokenAnswer&&) noexcept;
  // NOLINTNEXTLINE(bugprone-exception-escape): types are asked before they are used
  ~TokenAnswer();

  // The body was a whole JSON object.
  bool is_object() const { return whole_; }
  // An object, whole or what is left of one; empty if the body was no object at all.
  const nlohmann::json& fields() const { return *fields_; }

  // A member that is a non-blank string, trimmed; else empty. One with control characters is none:
  // it would end up in headers and on terminals.
  std::string_view text(std::string_view key) const;
  Secret secret(std::string_view key) const { return Secret::copy_of(text(key)); }
  // Sorted, comma-separated, scrubbed: what may be said of an answer without saying it.
  std::string key_names() const;

 private:
  std::unique_ptr<nlohmann::json> fields_;
  bool whole_ = false;
};

}  // namespace authdb::oauth
