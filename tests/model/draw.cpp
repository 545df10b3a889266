#include "tests/model/draw.h"

#include <array>
#include <utility>
#include <vector>

#include "tests/model/random.h"

namespace authdb::model {
namespace {

template <typename T>
struct Weighed {
  T what;
  int weight;
};

constexpr std::array<Weighed<Verb>, kVerbs> kVerbWeights{{{Verb::bearer, 240},
                                                          {Verb::refresh, 160},
                                                          {Verb::mint, 40},
                                                          {Verb::report, 40},
                                                          {Verb::login, 25},
                                                          {Verb::import_stale, 15},
                                                          {Verb::import_newer, 6},
                                                          {Verb::remove, 14},
                                                          {Verb::undo, 14},
                                                          {Verb::hand_over, 10},
                                                          {Verb::take_back, 12},
                                                          {Verb::inspect, 50},
                                                          {Verb::look, 20},
                                                          {Verb::backup, 6},
                                                          {Verb::restore, 5},
                                                          {Verb::save_db, 12},
                                                          {Verb::put_back_db, 8},
                                                          {Verb::save_journal, 10},
                                                          {Verb::put_back_journal, 5},
                                                          {Verb::delete_journal, 4},
                                                          {Verb::damage_journal, 4},
                                                          {Verb::repair, 6},
                                                          {Verb::key_rotate, 3},
                                                          {Verb::key_prune, 3},
                                                          {Verb::provider_gone, 8},
                                                          {Verb::provider_back, 14},
                                                          {Verb::outsider_on, 5},
                                                          {Verb::outsider_off, 15},
                                                          {Verb::advance, 200},
                                                          {Verb::jump, 8},
                                                          {Verb::reboot, 6}}};

// Half of all answers are plain good ones.
constexpr std::array<Weighed<Reply>, kReplies> kReplyWeights{
    {{Reply::ok, 220},          {Reply::keep, 12},
     {Reply::same, 8},          {Reply::cut, 24},
     {Reply::broken, 12},       {Reply::lost, 16},
     {Reply::unprocessed, 16},  {Reply::refused_connection, 8},
     {Reply::late, 4},          {Reply::twice, 2},
     {Reply::rate_limited, 14}, {Reply::unavailable, 14},
     {Reply::server_error, 10}, {Reply::page, 8},
     {Reply::refusal, 5},       {Reply::refusal_200, 5},
     {Reply::unreadable, 6},    {Reply::stranger, 4},
     {Reply::elsewhere, 4},     {Reply::retired, 4}}};
constexpr std::array<Weighed<Clothes>, kClothes> kClothesWeights{{{Clothes::plain, 120},
                                                                  {Clothes::bom, 5},
                                                                  {Clothes::prefix, 5},
                                                                  {Clothes::trailing, 5},
                                                                  {Clothes::data, 5},
                                                                  {Clothes::form, 5},
                                                                  {Clothes::gzip, 5}}};
constexpr std::array<Weighed<Twist>, kTwists> kTwistWeights{{{Twist::none, 500},
                                                             {Twist::crash, 10},
                                                             {Twist::fault, 30},
                                                             {Twist::outsider, 10},
                                                             {Twist::in_send, 25},
                                                             {Twist::in_clock, 25},
                                                             {Twist::waiter, 8}}};
// What another process may do meanwhile.
constexpr std::array<Weighed<Verb>, 10> kInnerWeights{{{Verb::bearer, 30},
                                                       {Verb::refresh, 20},
                                                       {Verb::report, 10},
                                                       {Verb::login, 8},
                                                       {Verb::mint, 6},
                                                       {Verb::import_stale, 4},
                                                       {Verb::remove, 6},
                                                       {Verb::hand_over, 4},
                                                       {Verb::inspect, 6},
                                                       {Verb::advance, 8}}};

template <typename T, std::size_t N>
T weighed(Random& random, const std::array<Weighed<T>, N>& table, const Menu& menu, T otherwise) {
  int total = 0;
  for (const auto& [what, weight] : table) total += menu.has(name_of(what)) ? weight : 0;
  if (total == 0) return otherwise;
  int at = random.below(total);
  for (const auto& [what, weight] : table) {
    if (!menu.has(name_of(what))) continue;
    if ((at -= weight) < 0) return what;
  }
  return otherwise;
}

int argument(Random& random, Verb verb) {
  constexpr std::array<int, 8> kTimes{1, 5, 20, 70, 310, 800, 1000, 4000};
  constexpr std::array<int, 6> kJumps{-86400, -3600, -120, 3600, 86400, 864000};
  switch (verb) {
    case Verb::advance:
      return kTimes.at(static_cast<std::size_t>(random.below(8)));
    case Verb::jump:
      return kJumps.at(static_cast<std::size_t>(random.below(6)));
    case Verb::refresh:
      return random.one_in(4) ? 1 : 0;
    case Verb::login:
      return random.one_in(3) ? 1 + random.below(2) : 0;
    default:
      return random.below(4);
  }
}

bool may_be_twisted(Verb verb) { return verb < Verb::save_db && verb != Verb::look; }

void draw_twist(Random& random, const Menu& menu, Step& step) {
  step.twist = weighed(random, kTwistWeights, menu, Twist::none);
  if (step.twist == Twist::none) return;
  step.at = 1 + (step.twist == Twist::in_clock ? random.below(12) : random.below(60));
  step.how = step.twist == Twist::waiter && random.one_in(2) ? 1000 : random.below(kFaults);
  if (step.twist < Twist::in_send) return;
  step.inner = weighed(random, kInnerWeights, menu, Verb::bearer);
  step.inner_who = random.one_in(3) ? random.below(8) : step.who;
  step.inner_arg = argument(random, step.inner);
  step.inner_reply = weighed(random, kReplyWeights, menu, Reply::ok);
}

Step draw_step(Random& random, const Menu& menu) {
  Step step;
  step.verb = weighed(random, kVerbWeights, menu, Verb::bearer);
  step.who = random.below(8);
  step.arg = argument(random, step.verb);
  step.seed = random.below(1 << 15);
  if (!may_be_twisted(step.verb)) return step;
  if (step.verb <= Verb::report) {
    step.reply = weighed(random, kReplyWeights, menu, Reply::ok);
    step.clothes = weighed(random, kClothesWeights, menu, Clothes::plain);
    if (menu.has("big") && random.one_in(12)) step.big = 1 + random.below(12);
    if (menu.has("mint") && random.one_in(5)) step.mint = 1 + random.below(4);
  }
  draw_twist(random, menu, step);
  // Whoever dies before it sends has not been refused anything.
  if (step.twist == Twist::crash && step.reply == Reply::refused_connection) step.reply = Reply::ok;
  return step;
}

}  // namespace

History draw(std::uint64_t seed, int steps, const Menu& menu) {
  Random random(seed);
  History history;
  for (int i = 0; i < steps; ++i) history.push_back(draw_step(random, menu));
  return history;
}

}  // namespace authdb::model
