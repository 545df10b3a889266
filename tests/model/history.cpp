#include "tests/model/history.h"

#include <chrono>
#include <exception>
#include <iostream>

#include "tests/model/actions.h"
#include "tests/model/judge.h"
#include "tests/model/wire.h"
#include "tests/model/world.h"

namespace authdb::model {
namespace {

namespace fs = std::filesystem;

fs::path template_of(const Setting& setting) {
  const fs::path made = setting.home / "template";
  if (!fs::exists(made)) make_template(made);
  return made;
}

bool must_renew(World& world, const Login& login) {
  if (login.removed || login.handed || login.conflict || login.amnesia || login.dead) return false;
  if (login.token < 0 || world.books.note(login.token).refused) return false;
  const Family& family = world.server.family_of_token(login.token);
  if (!family.alive) return false;
  // The successor of an answer that never came is nowhere: asking again ends the login.
  const bool lost = world.books.note(login.token).losses > 0 || login.or_else >= 0;
  return family.current == login.token || lost;
}

// Behind every rest and replay pause that there is.
bool renews(World& world, int who) {
  Step ask;
  ask.who = who;
  for (int i = 0; i < 8; ++i) {
    do_step(world, ask);
    const Login& login = world.books.login(who);
    if (world.last_ok || login.dead || login.amnesia || !must_renew(world, login)) return true;
    world.advance(301'000);
  }
  return false;
}

void end_all_trouble(World& world) {
  world.outsider_off();
  world.provider_gone = false;
  Step repair;
  repair.verb = Verb::repair;
  for (int who = 0; who < world.books.count(); ++who) {
    if (!world.books.login(who).journal_damaged) continue;
    do_step(world, repair);
    break;
  }
  work_on_late_requests(world);
  world.advance(4'000'000);
}

void check_the_end(World& world) {
  end_all_trouble(world);
  for (int who = 0; who < world.books.count(); ++who) inspect_now(world, who, Verb::inspect);
  check_status(world);
  check_ledger(world);
  for (int who = 0; who < world.books.count() && !world.verdict.failure(); ++who) {
    Login& login = world.books.login(who);
    if (!must_renew(world, login)) continue;
    if (login.reported) {
      (void)world.desk(0).store.reset(login.uid);
      world.books.forget_rejections();
    }
    if (!renews(world, who)) {
      world.verdict.fail("P5.not-renewable", login.label +
                                                 " cannot be renewed, and the server honours " +
                                                 world.server.refresh_token(login.token).text);
    }
  }
}

void count(const Setting& setting, const Step& step, bool ok) {
  if (setting.coverage == nullptr) return;
  auto& coverage = *setting.coverage;
  ++coverage[std::string(name_of(step.verb)) + (ok ? " ok" : " no")];
  if (step.reply != Reply::ok) ++coverage["reply " + std::string(name_of(step.reply))];
  if (step.twist != Twist::none) ++coverage["twist " + std::string(name_of(step.twist))];
}

void trace(const World& world, const Step& step, std::chrono::steady_clock::time_point began) {
  const auto took =
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - began);
  std::cerr << text_of(step) << "  -> " << (world.last_ok ? "ok" : world.last_said) << "  ("
            << took.count() << " ms)\n";
}

}  // namespace

Ran run(const History& history, const Setting& setting) {
  Verdict verdict(setting.allowed, setting.wanted);
  Ran out;
  copy_template(template_of(setting), setting.home / "now");
  World world(setting.home / "now", verdict);
  world.trace = setting.trace;
  try {
    seat_first_logins(world);
    for (const Step& step : history) {
      ++out.steps;
      const auto began = std::chrono::steady_clock::now();
      do_step(world, step);
      if (setting.trace) trace(world, step, began);
      count(setting, step, world.last_ok);
      if (verdict.failure()) break;
    }
    if (!verdict.failure()) {
      ++out.steps;
      check_the_end(world);
    }
  } catch (const std::exception& error) {
    verdict.fail("P5.exception", error.what());
  }
  out.failure = verdict.failure();
  out.tolerated = verdict.tolerated();
  return out;
}

}  // namespace authdb::model
