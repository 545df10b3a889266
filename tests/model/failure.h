// A promise that was broken. The class is for programs (`--allow`), the text for people.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>

namespace authdb::model {

struct Failure {
  std::string kind;  // `P1.spent-sent`
  std::string what;
};

// Takes failures; those that are allowed are only counted. The first of the others stands.
class Verdict {
 public:
  // `wanted`: only these fail; empty: all but the allowed.
  explicit Verdict(std::set<std::string> allowed = {}, std::set<std::string> wanted = {})
      : allowed_(std::move(allowed)), wanted_(std::move(wanted)) {}
  void fail(const std::string& kind, const std::string& what) {
    if (allowed_.count(kind) != 0 || (!wanted_.empty() && wanted_.count(kind) == 0)) {
      ++tolerated_[kind];
    } else if (!first_) {
      first_ = Failure{kind, what};
    }
  }
  const std::optional<Failure>& failure() const { return first_; }
  const std::map<std::string, int>& tolerated() const { return tolerated_; }

 private:
  std::set<std::string> allowed_;
  std::set<std::string> wanted_;
  std::map<std::string, int> tolerated_;
  std::optional<Failure> first_;
};

}  // namespace authdb::model
