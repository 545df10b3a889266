// The store's own words against the books.
#include <map>

#include "store/fingerprint.h"
#include "tests/model/judge.h"

namespace authdb::model {
namespace {

constexpr int kNotFound = static_cast<int>(Errc::not_found);
constexpr int kBusy = static_cast<int>(Errc::busy);

std::string token_text(const World& world, int token) {
  return token < 0 ? "none" : world.server.refresh_token(token).text;
}

class Comparison {
 public:
  Comparison(World& world, int who, const Outcome& outcome, Verb verb, const Prepared* fresh)
      : world_(world),
        books_(world.books),
        who_(who),
        it_(world.books.login(who)),
        outcome_(outcome),
        verb_(verb),
        fresh_(fresh) {}

  void run(bool must_work) {
    if (!outcome_.ok) return not_there(must_work);
    if (it_.removed) return back();
    if (it_.amnesia && !has_fresh()) return;
    token();
    if (it_.amnesia) return;
    generation();
    hold();
    if (!world_.outsider()) it_.in_table = it_.version;
  }

 private:
  void fail(const std::string& kind, const std::string& what) {
    world_.verdict.fail(kind, it_.label + ": " + what);
    books_.forget(who_);  // one defect is told once
  }

  void not_there(bool must_work) {
    if (outcome_.code == kNotFound) {
      if (it_.removed || it_.amnesia) return;
      if (verb_ != Verb::remove) return fail("P5.vanished", "the credential is gone");
      it_.removed = true;
      books_.changed(it_);
      it_.in_table = it_.in_journal = it_.version;
    } else if (must_work && outcome_.code != kBusy && !it_.journal_damaged && !it_.amnesia) {
      fail("P5.bricked",
           "cannot be locked (" + std::to_string(outcome_.code) + ": " + outcome_.message + ")");
    }
  }

  void back() {
    if (it_.amnesia) {
      it_.removed = false;
      return;
    }
    const bool may = verb_ == Verb::undo || verb_ == Verb::restore;
    if (!may) return fail("P2.removal-forgotten", "was removed, and is there again");
    it_.removed = false;
    books_.changed(it_);
    it_.in_table = it_.in_journal = it_.version;
  }

  int shown() const {
    return outcome_.refresh.empty() ? -1 : world_.server.refresh_named(outcome_.refresh);
  }

  // What was to be stored is there, whatever was said of it. Not where it has been before: an old
  // file's token may also be there because the table is as old.
  bool has_fresh() const {
    return fresh_ != nullptr && fresh_->issued.refresh >= 0 && shown() == fresh_->issued.refresh &&
           books_.note(shown()).login != who_;
  }

  void token() {
    const int there = shown();
    books_.shown(it_, there);
    if (has_fresh()) return seat();
    if (there == it_.token) return;
    if (it_.conflict || it_.dead) return;
    if (there < 0)
      return fail("P4.token-gone",
                  "has no refresh token instead of " + token_text(world_, it_.token));
    const bool old = books_.note(there).spent || books_.note(there).retired;
    fail(old ? "P2.went-back" : "P2.wrong-token",
         "has " + token_text(world_, there) + " instead of " + token_text(world_, it_.token));
  }

  void seat() {
    it_.account_known = false;      // nobody heard whether a journal remembers whose it is
    it_.account = fresh_->account;  // the same place in a tool's file may hold another login now
    books_.seat(who_, fresh_->issued.refresh, fresh_->issued.access);
    it_.in_table = it_.in_journal = it_.version;
  }

  void generation() {
    if (outcome_.generation < it_.generation) {
      fail("P2.generation-fell",
           std::to_string(outcome_.generation) + " after " + std::to_string(it_.generation));
    }
    it_.generation = outcome_.generation;
  }

  void hold() {
    const Hold there = static_cast<Hold>(outcome_.hold);
    const bool handed = there == Hold::handed_over;
    if (handed != it_.handed) {
      const bool may = verb_ == Verb::hand_over || verb_ == Verb::take_back;
      if (!may)
        return fail("P2.hold-forgotten", handed ? "is handed over" : "is not handed over any more");
      it_.handed = handed;
      books_.changed(it_);
      it_.in_table = it_.in_journal = it_.version;
      it_.losses_unknown = true;
    }
    // Another copy of the same place in a file may disagree.
    if (fresh_ != nullptr && fresh_->imported && there == Hold::conflict) it_.conflict = true;
    if (it_.conflict != (there == Hold::conflict)) {
      return fail("P4.conflict-missing", it_.conflict ? "is not in conflict" : "is in conflict");
    }
    if (it_.token < 0 || it_.losses_unknown || it_.handed || it_.conflict) return;
    uncertainty(there);
  }

  void uncertainty(Hold there) {
    const TokenNote& note = books_.note(it_.token);
    if (note.losses > 0 && there != Hold::uncertain) {
      fail("P4.loss-forgotten", token_text(world_, it_.token) + " is not held as uncertain");
    }
    if (note.losses == 0 && !note.refused_after_loss && there == Hold::uncertain) {
      fail("P4.answer-forgotten",
           token_text(world_, it_.token) + " is uncertain, and every answer arrived");
    }
  }

  World& world_;
  Books& books_;
  int who_;
  Login& it_;
  const Outcome& outcome_;
  Verb verb_;
  const Prepared* fresh_;
};

// Rows that the books do not have yet: a login or an import whose outcome nobody heard.
void enter_new_rows(World& world, const Prepared& fresh) {
  const auto rows = world.desk(2).store.list({});
  if (!rows) return;
  for (const Credential& row : *rows) {
    if (world.books.who_is(row.uid) >= 0) continue;
    const int who =
        world.books.add_login(row.uid, fresh.provider, fresh.account, row.identity.label);
    Login& login = world.books.login(who);
    login.token = -1;
    login.account_known = false;  // as in seat()
    login.conflict = row.hold == Hold::conflict;
    if (fresh.issued.refresh < 0) world.books.forget(who);
  }
}

}  // namespace

void compare(World& world, int who, const Outcome& outcome, const Before& how, Verb verb,
             const Prepared* fresh) {
  Comparison(world, who, outcome, verb, fresh).run(how.clean && !world.provider_gone);
}

void inspect_now(World& world, int who, Verb verb, const Prepared* fresh) {
  world.outsider_off();
  const bool gone = std::exchange(world.provider_gone, false);
  Prepared prepared;
  prepared.who = who;
  Step step;
  step.verb = Verb::inspect;
  Before how;
  how.clean = acting() == nullptr;
  compare(world, who, perform(world, world.desk(acting() == nullptr ? 2 : 1), step, prepared), how,
          verb, fresh);
  world.provider_gone = gone;
}

void look_again(World& world, const Prepared& fresh, bool restored) {
  enter_new_rows(world, fresh);
  for (int who = 0; who < world.books.count(); ++who) {
    Login& login = world.books.login(who);
    if (restored) {
      login.losses_unknown = login.ledger_unknown = true;
      login.rests_until = 0;
      login.row_generation = 0;
    }
    inspect_now(world, who, restored ? Verb::restore : Verb::inspect, &fresh);
  }
}

void check_rows(World& world) {
  const auto rows =
      world.desk(0).store.list({.provider = {}, .profile = {}, .include_removed = true});
  if (!rows) {
    if (!world.outsider()) world.verdict.fail("P6.look-refused", rows.error().message);
    return;
  }
  for (const Credential& row : *rows) {
    const int who = world.books.who_is(row.uid);
    if (who < 0 || world.books.login(who).amnesia) continue;
    Login& login = world.books.login(who);
    if (row.generation < login.row_generation) {
      world.verdict.fail("P2.generation-fell", login.label + ": in the table");
    }
    login.row_generation = row.generation;
    const auto rests = row.health.cooldown_until ? to_millis(*row.health.cooldown_until) : 0;
    if (world.now() < login.rests_until && rests < login.rests_until && !login.removed) {
      world.verdict.fail("P5.report-forgotten",
                         login.label + ": its resource server's wish is gone");
      login.rests_until = 0;
    }
    if (login.in_table != login.version) continue;
    if (login.removed != row.removed_at.has_value()) {
      world.verdict.fail("P2.removal-forgotten", login.label + ": in the table");
    }
    if (login.handed != (row.hold == Hold::handed_over) && !login.removed) {
      world.verdict.fail("P2.hold-forgotten", login.label + ": in the table");
    }
  }
}

// An attempt whose answer never came is one row of the ledger, whoever finds it.
void check_ledger(World& world) {
  const auto rows = world.desk(0).store.query(
      "SELECT uid, count(*) FROM rotation WHERE kind = 'refresh' AND outcome = 'uncertain' GROUP "
      "BY uid");
  if (!rows) return;
  std::map<Uid, std::int64_t> counted;
  for (const auto& cells : rows->rows) {
    counted[std::get<std::string>(cells.at(0))] = std::get<std::int64_t>(cells.at(1));
  }
  for (int who = 0; who < world.books.count(); ++who) {
    const Login& login = world.books.login(who);
    if (login.ledger_unknown || login.amnesia || login.or_else >= 0 || login.removed) continue;
    if (counted[login.uid] == login.lost_in_all) continue;
    world.verdict.fail("P8.losses-miscounted",
                       login.label + ": " + std::to_string(counted[login.uid]) +
                           " uncertain attempts in the ledger, and " +
                           std::to_string(login.lost_in_all) + " were lost");
  }
}

void check_status(World& world) {
  const auto rows = world.desk(0).store.query(
      "SELECT uid, needs_login, refreshable, state, CAST(strftime('%s', obtained_at) AS INTEGER) "
      "FROM freshness");
  if (!rows) return;
  constexpr std::int64_t kMinute = 60;
  const std::int64_t now = world.now() / 1000;
  for (const auto& cells : rows->rows) {
    const int who = world.books.who_is(std::get<std::string>(cells.at(0)));
    if (who < 0) continue;
    const Login& login = world.books.login(who);
    const auto* obtained = std::get_if<std::int64_t>(&cells.at(4));
    const bool ahead = obtained != nullptr && *obtained > now + kMinute + 1;  // whole seconds
    if (ahead && cells.at(3) == Cell{"fresh"}) {
      world.verdict.fail("P8.fresh-though-ahead",
                         login.label + ": its bearer was obtained by a clock that was ahead");
    }
    if (login.amnesia || login.in_table != login.version) continue;
    const auto number = [&](std::size_t i) {
      const auto* value = std::get_if<std::int64_t>(&cells.at(i));
      return value == nullptr ? 0 : *value;
    };
    if (login.dead && number(1) == 0 && number(2) != 0) {
      world.verdict.fail("P8.green-though-dead",
                         login.label + " was refused, and is shown as renewable");
    }
    if (login.token < 0 && number(2) != 0) {
      world.verdict.fail("P8.green-without-token",
                         login.label + " has no refresh token, and is shown as renewable");
    }
  }
}

}  // namespace authdb::model
