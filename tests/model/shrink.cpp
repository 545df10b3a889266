#include "tests/model/shrink.h"

#include <algorithm>
#include <vector>

namespace authdb::model {
namespace {

class Shrinker {
 public:
  Shrinker(History history, const std::function<bool(const History&)>& fails, int budget)
      : best_(std::move(history)), fails_(fails), budget_(budget) {}

  History run() {
    while (drop_steps() || simplify_steps()) {
    }
    return best_;
  }

 private:
  bool keep(History candidate) {
    if (budget_-- <= 0 || !fails_(candidate)) return false;
    best_ = std::move(candidate);
    return true;
  }

  // Halves first, then ever smaller pieces.
  bool drop_steps() {
    bool any = false;
    for (std::size_t piece = std::max<std::size_t>(1, best_.size() / 2); piece > 0; piece /= 2) {
      for (std::size_t at = 0; at < best_.size() && budget_ > 0;) {
        History candidate = best_;
        const auto begin = candidate.begin() + static_cast<std::ptrdiff_t>(at);
        const auto length = std::min(piece, best_.size() - at);
        candidate.erase(begin, begin + static_cast<std::ptrdiff_t>(length));
        if (keep(std::move(candidate)))
          any = true;
        else
          at += piece;
      }
    }
    return any;
  }

  template <typename T>
  bool set(std::size_t at, T Step::*field, T value) {
    if (best_.at(at).*field == value) return false;
    History candidate = best_;
    candidate[at].*field = value;
    return keep(std::move(candidate));
  }

  bool simplify_step(std::size_t at) {
    bool any = set(at, &Step::twist, Twist::none);
    any |= set(at, &Step::reply, Reply::ok);
    any |= set(at, &Step::clothes, Clothes::plain);
    any |= set(at, &Step::inner, Verb::bearer);
    any |= set(at, &Step::inner_reply, Reply::ok);
    for (int Step::*field : {&Step::big, &Step::mint, &Step::arg, &Step::who, &Step::seed,
                             &Step::at, &Step::how, &Step::inner_who, &Step::inner_arg}) {
      any |= set(at, field, 0) || set(at, field, best_[at].*field / 2);
    }
    return any;
  }

  bool simplify_steps() {
    bool any = false;
    for (std::size_t at = 0; at < best_.size() && budget_ > 0; ++at) any |= simplify_step(at);
    return any;
  }

  History best_;
  const std::function<bool(const History&)>& fails_;
  int budget_;
};

}  // namespace

History shrink(History history, const std::function<bool(const History&)>& fails, int budget) {
  return Shrinker(std::move(history), fails, budget).run();
}

}  // namespace authdb::model
