// What must be there before an action, and how things stand then.
#include <filesystem>

#include "tests/model/actions.h"
#include "tests/model/answer.h"
#include "tests/model/files.h"
#include "tests/model/judge.h"

namespace authdb::model {
namespace {

// More would only make each step slower.
constexpr int kMostLogins = 8;

void choose_mintery(World& world, Prepared& prepared) {
  for (int i = 0; i < world.books.count(); ++i) {
    const int who = (prepared.who + i) % world.books.count();
    if (world.books.login(who).provider != kMintery) continue;
    prepared.who = who;
    prepared.provider = kMintery;
    return;
  }
  prepared.possible = false;
}

// A person approves; from here on the session exists.
void approve(World& world, const Step& step, Prepared& prepared) {
  const Login& login = world.books.login(prepared.who);
  const bool another = step.arg != 0 && world.books.count() < kMostLogins;
  prepared.account = another ? world.accounts++ : login.account;
  prepared.label =
      another && step.arg == 1 ? "label-" + std::to_string(prepared.account) : login.label;
  prepared.issued =
      world.server.open_family(prepared.provider, prepared.account, world.now(), life_of(step));
}

void take_old_copy(World& world, const Step& step, Prepared& prepared) {
  int token = world.books.login(prepared.who).token;
  for (int i = 0; i <= step.arg % 3 && token >= 0; ++i) token = predecessor_of(world.server, token);
  prepared.possible = token >= 0;
  prepared.issued.refresh = token;
  prepared.label = world.books.login(prepared.who).label;
}

void take_new_copy(World& world, const Step& step, Prepared& prepared) {
  prepared.possible = world.books.count() < kMostLogins;
  if (!prepared.possible) return;
  approve(world, step, prepared);
  prepared.label += "-of-a-tool";
  prepared.imported = true;
}

void choose_rejected(World& world, Prepared& prepared) {
  const Login& login = world.books.login(prepared.who);
  prepared.rejected = world.books.current_bearer(login, world.now());
  prepared.second = login.in_table != login.version && login.rejections > 0;
  if (prepared.rejected >= 0) prepared.text = world.server.bearer(prepared.rejected).text;
}

bool may_be_held_elsewhere(const Login& login) {
  return !login.removed && !login.handed && !login.conflict && !login.amnesia && login.token >= 0;
}

}  // namespace

Prepared prepare(World& world, const Step& step) {
  Prepared out;
  out.who = step.who % world.books.count();
  const Login& login = world.books.login(out.who);
  out.provider = login.provider;
  out.account = login.account;
  switch (step.verb) {
    case Verb::bearer:
      if (step.arg == 2) choose_rejected(world, out);
      break;
    case Verb::report:
      choose_rejected(world, out);
      out.reset_at = world.now() + 60'000;
      break;
    case Verb::mint:
      choose_mintery(world, out);
      break;
    case Verb::login:
      approve(world, step, out);
      break;
    case Verb::import_stale:
      take_old_copy(world, step, out);
      break;
    case Verb::import_newer:
      take_new_copy(world, step, out);
      break;
    case Verb::remove:
      out.possible = !login.removed;
      break;
    case Verb::undo:
      out.possible = login.removed && login.in_table == login.version;  // else it is not shown
      break;
    case Verb::hand_over:
      out.possible = may_be_held_elsewhere(login);
      break;
    case Verb::take_back:
      out.possible = login.handed && !login.removed;
      break;
    case Verb::backup:
      std::filesystem::remove(backup_file(world));
      break;
    case Verb::restore:
      out.possible = world.backup_copy.has_value();
      break;
    default:
      break;
  }
  return out;
}

namespace {

bool renewable(World& world, const Login& login) {
  if (!may_be_held_elsewhere(login)) return false;
  if (login.dead || login.may_rest || login.reported || login.journal_damaged ||
      login.losses_unknown)
    return false;
  // Whatever takes the place of two that were refused will be refused as well.
  const bool would_be_refused =
      login.rejections > 1 && !world.books.any_bearer_lives(login, world.now());
  const TokenNote& note = world.books.note(login.token);
  return !would_be_refused && note.losses == 0 && login.or_else < 0 && !note.refused &&
         world.now() >= login.rest.until && world.server.family_of_token(login.token).alive &&
         world.server.family_of_token(login.token).current == login.token && world.late.empty();
}

bool served_well(const Step& step) {
  const bool good =
      step.reply == Reply::ok || step.reply == Reply::keep || step.reply == Reply::same;
  return good && step.mint == 0 && step.arg < 2;
}

}  // namespace

Before before(World& world, const Step& step, const Prepared& prepared) {
  Before out;
  const Login& login = world.books.login(prepared.who);
  out.clean = step.twist == Twist::none && acting() == nullptr && !world.outsider();
  for (int who = 0; who < world.books.count(); ++who) {
    if (world.books.login(who).removed) out.removed.insert(who);
  }
  out.renewable = out.clean && !world.provider_gone && served_well(step) && renewable(world, login);
  return out;
}

}  // namespace authdb::model
