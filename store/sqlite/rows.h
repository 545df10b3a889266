// Binding and reading columns in the store's own types. NULL is empty text, an empty optional, an
// empty blob: unknown.
#pragma once

#include <SQLiteCpp/SQLiteCpp.h>

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>

#include "store/clock.h"
#include "store/fingerprint.h"
#include "store/seal.h"
#include "store/words.h"

namespace authdb::sqlite {

// Binds parameters one after the other.
class Binder {
 public:
  explicit Binder(SQLite::Statement& statement) : statement_(statement) {}

  Binder& text(std::string_view value) {  // empty text as such
    statement_.bind(++index_, std::string(value));
    return *this;
  }
  Binder& text_or_null(std::string_view value) { return value.empty() ? null() : text(value); }
  Binder& integer(std::int64_t value) {
    statement_.bind(++index_, value);
    return *this;
  }
  Binder& maybe(std::optional<int> value) { return value ? integer(*value) : null(); }
  Binder& maybe(std::optional<std::int64_t> value) { return value ? integer(*value) : null(); }
  Binder& at(Instant value) { return integer(to_millis(value)); }
  Binder& at(std::optional<Instant> value) { return value ? at(*value) : null(); }
  // A null pointer would bind NULL, and an empty vector has one: which is what we want of it.
  Binder& blob(const Sealed& value) {
    if (value.empty()) return null();
    statement_.bind(++index_, value.data(), static_cast<int>(value.size()));
    return *this;
  }
  Binder& hash(const TokenHash& value) {
    statement_.bind(++index_, value.data(), static_cast<int>(value.size()));
    return *this;
  }
  Binder& hash(const std::optional<TokenHash>& value) { return value ? hash(*value) : null(); }
  template <typename E>
  Binder& enumerated(E value) {
    return text_or_null(word(value));
  }
  Binder& null() {
    statement_.bind(++index_);
    return *this;
  }

 private:
  SQLite::Statement& statement_;
  int index_ = 0;
};

// Reads the columns of the current row one after the other.
class RowReader {
 public:
  explicit RowReader(SQLite::Statement& statement) : statement_(statement) {}

  std::string text() { return statement_.getColumn(index_++).getString(); }
  std::int64_t integer() { return statement_.getColumn(index_++).getInt64(); }
  bool flag() { return integer() != 0; }
  std::optional<std::int64_t> maybe() {
    const auto column = statement_.getColumn(index_++);
    return column.isNull() ? std::nullopt : std::optional(column.getInt64());
  }
  std::optional<Instant> at() {
    const auto value = maybe();
    return value ? std::optional(at_millis(*value)) : std::nullopt;
  }
  Sealed blob() {
    const auto column = statement_.getColumn(index_++);
    const auto* data = static_cast<const unsigned char*>(column.getBlob());
    return data == nullptr ? Sealed() : Sealed(data, data + column.getBytes());
  }
  std::optional<TokenHash> hash() {
    const Sealed bytes = blob();
    TokenHash hash{};
    if (bytes.size() != hash.size()) return std::nullopt;
    std::copy(bytes.begin(), bytes.end(), hash.begin());
    return hash;
  }
  template <typename E>
  E enumerated(E fallback) {
    return from_word<E>(text()).value_or(fallback);
  }

 private:
  SQLite::Statement& statement_;
  int index_ = 0;
};

}  // namespace authdb::sqlite
