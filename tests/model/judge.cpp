#include "tests/model/judge.h"

#include <filesystem>

#include "tests/model/disk.h"
#include "tests/model/files.h"

namespace authdb::model {
namespace {

constexpr int kLoginNeeded = static_cast<int>(Errc::login_needed);
constexpr int kTryLater = static_cast<int>(Errc::try_later);
constexpr int kBusy = static_cast<int>(Errc::busy);

std::string said(const Outcome& outcome) {
  return " (" + std::to_string(outcome.code) + ": " + outcome.message + ")";
}

class Judge {
 public:
  Judge(World& world, const Step& step, const Prepared& prepared, const Before& how,
        const Outcome& outcome, const Acting& doing)
      : world_(world),
        books_(world.books),
        step_(step),
        prepared_(prepared),
        how_(how),
        outcome_(outcome),
        doing_(doing) {}

  void run() {
    settle_delivery();
    // A commit that failed at its sync may turn up when the log is recovered. A rotation has to
    // bear that; of the others it has to be known now.
    if (struck() && !outcome_.ok && step_.verb > Verb::report) world_.close_all();
    switch (step_.verb) {
      case Verb::bearer:
      case Verb::refresh:
      case Verb::mint:
        bearer();
        break;
      case Verb::report:
        report();
        break;
      case Verb::login:
        login();
        break;
      case Verb::import_stale:
      case Verb::import_newer:
        imported();
        break;
      case Verb::remove:
        change(&Login::removed, true, "P5.remove-refused");
        break;
      case Verb::undo:
        change(&Login::removed, false, "P5.undo-refused");
        break;
      case Verb::hand_over:
        change(&Login::handed, true, "");
        break;
      case Verb::take_back:
        taken_back();
        break;
      case Verb::inspect:
        inspected();
        break;
      case Verb::look:
        looked();
        break;
      default:
        upkeep();
        break;
    }
  }

 private:
  Login& it() { return books_.login(prepared_.who); }
  bool struck() const { return step_.twist == Twist::fault && disk_counts().struck; }
  bool cut_short() const { return outcome_.crashed || (!outcome_.ok && struck()); }
  bool refused_although_clean() const {
    return how_.clean && !outcome_.ok && outcome_.code != kBusy;
  }
  void fail(const std::string& kind, const std::string& what) { world_.verdict.fail(kind, what); }

  // Did what the server answered last reach the disk?
  bool delivery_is_sure() const {
    if (answer_is_kept()) return true;
    if (outcome_.crashed) return false;
    if (!struck()) return true;
    // Room is kept for an answer of 4 KiB, or of the size of the last one.
    const int known = books_.login(books_.note(doing_.delivered).login).answer_kib;
    const bool room = static_cast<Fault>(step_.how % kFaults) == Fault::no_growth &&
                      step_.big <= std::max(2, known);
    return (outcome_.ok && outcome_.warnings == 0) || room;
  }

  void settle_delivery() {
    if (outcome_.crashed || struck() || world_.outsider() || step_.twist == Twist::outsider ||
        !doing_.outermost) {
      for (int who = 0; who < books_.count(); ++who) books_.login(who).ledger_unknown = true;
    }
    if (outcome_.crashed || struck()) {
      for (int who = 0; who < books_.count(); ++who) unsure(who);
      if (doing_.refused >= 0) books_.unsure_of_refusal(doing_.refused);
      if (doing_.odd >= 0) books_.forget(books_.note(doing_.odd).login);
    }
    if (doing_.refused >= 0) noted(books_.login(books_.note(doing_.refused).login));
    if (doing_.delivered < 0) return;
    const int who = books_.note(doing_.delivered).login;
    Login& login = books_.login(who);
    if (!delivery_is_sure()) {
      books_.unsure(doing_.delivered, world_.now());
      login.access = login.key = -1;
      login.in_table = login.in_journal = login.version;
      return;
    }
    noted(login);
    login.answer_kib = step_.big;
  }

  // A pool may have chosen any of them.
  void unsure(int who) const {
    Login& login = books_.login(who);
    // The request may have left and not come far, or its answer may not have been noted.
    if (!doing_.lost.contains(who)) login.losses_unknown = true;
    login.rest = {};
    login.may_rest = true;
    login.rests_until = 0;
    login.key = -1;
  }

  void noted(Login& login) {
    login.in_journal = login.version;
    // Where it happened inside another one's step, that one may have had SQLite's lock.
    if (doing_.outermost && !world_.outsider() && !outcome_.crashed && !struck() &&
        step_.twist != Twist::outsider) {
      login.in_table = login.version;
    }
  }

  // The store has the whole change of an action that said so.
  void stands(Login& login) {
    // An answer that waits in the journal cannot be read without its provider.
    const bool settled = !world_.provider_gone || login.in_table == login.version;
    books_.changed(login);
    if (settled) login.in_table = login.version;
    journal_told(login);
  }

  // The journal says it as well, except where the disk failed: there nobody knows.
  void journal_told(Login& login) {
    const bool there = std::filesystem::exists(world_.journal(login.uid)) && !login.journal_damaged;
    if (!there) login.in_journal = -1;
    if (there && !struck()) login.in_journal = login.version;
  }

  void note_rejection() {
    const bool heard = outcome_.ok || outcome_.code == kLoginNeeded || outcome_.code == kTryLater;
    const bool sure = doing_.outermost && heard && !struck() && !world_.outsider() &&
                      step_.twist != Twist::outsider;
    if (prepared_.rejected < 0) return;
    // While an answer waits for the database or for its provider, its bearer and that of the row
    // may both be rejected: one of them is remembered.
    books_.rejected(prepared_.rejected, sure && !prepared_.second && !outcome_.crashed);
  }

  // Handed out all the same, where the database could not take it: inside another one's step that
  // one may have had its lock.
  void minted(int who) {
    const bool kept =
        doing_.outermost && !struck() && !world_.outsider() && step_.twist != Twist::outsider;
    if (doing_.mint_requests == 0 || kept) return;
    books_.login(who).key = -1;
    books_.login(who).may_rest = true;  // nor may it be told that the endpoint is well again
  }

  void bearer() {
    note_rejection();
    if (outcome_.ok) {
      const int who = books_.who_is(outcome_.uids.at(0));
      if (who < 0 || books_.login(who).amnesia) return;
      minted(who);
      if (step_.twist == Twist::waiter && step_.inner == Verb::login)
        return;  // it may be that one's
      books_.served(who, outcome_.token, outcome_.returned_at,
                    step_.verb == Verb::bearer ? prepared_.rejected : -1);
      if (how_.removed.contains(who) && books_.login(who).removed &&
          books_.login(who).in_table == books_.login(who).version)
        fail("P2.removed-served", outcome_.token + " of a removed one");
    } else if (how_.renewable && refused_although_clean()) {
      fail("P5.bearer-refused", "the server would have renewed " + it().label + said(outcome_));
    }
  }

  void report() {
    if (step_.arg == 0) note_rejection();
    if (!it().amnesia) minted(prepared_.who);
    if (step_.arg == 1 || step_.arg == 2) it().reported = true;
    const bool heeded =
        outcome_.ok && !it().dead && !it().perhaps_dead && it().in_table == it().version;
    // No later report but a success takes back what an earlier one said.
    if (step_.arg == 1 && heeded) {
      it().rests_until = std::max(it().rests_until, prepared_.reset_at);
    }
    if (step_.arg == 3) it().rests_until = 0;
    if (step_.arg == 3 && outcome_.ok) it().reported = false;
  }

  void login() {
    if (cut_short() || (!outcome_.ok && !how_.clean)) return look_again(world_, prepared_);
    if (!outcome_.ok) {
      if (refused_although_clean())
        fail("P5.login-refused", "an approved login is lost" + said(outcome_));
      return;
    }
    int who = books_.who_is(outcome_.uids.at(0));
    if (who < 0) {
      who = books_.add_login(outcome_.uids[0], prepared_.provider, prepared_.account,
                             prepared_.label);
    } else if (books_.login(who).account != prepared_.account && books_.login(who).account_known &&
               !books_.login(who).amnesia) {
      fail("P5.overwrote-a-stranger", "a login of account " + std::to_string(prepared_.account) +
                                          " displaced " + books_.login(who).label);
    }
    books_.login(who).account = prepared_.account;
    books_.login(who).account_known = !struck();
    books_.seat(who, prepared_.issued.refresh, prepared_.issued.access);
    Login& login = books_.login(who);
    // Another login meanwhile: who came last is not known.
    const bool alone = step_.twist != Twist::in_clock && step_.twist != Twist::waiter;
    if (!alone && step_.inner == Verb::login) books_.forget(who);
    login.reported = false;
    login.in_table = login.version;
    if (!struck()) login.journal_damaged = false;  // it begins a new one
    journal_told(login);
  }

  void imported() {
    if (refused_although_clean() && !world_.provider_gone && !any_damage()) {
      fail("P5.import-refused", "a file could not be imported" + said(outcome_));
    }
    // Inside of a login nobody has told the books of that one yet.
    if (doing_.outermost) look_again(world_, prepared_);
  }

  void change(bool Login::*what, bool value, const std::string& kind) {
    if (cut_short()) return inspect_now(world_, prepared_.who, step_.verb);
    if (outcome_.ok) {
      it().*what = value;
      it().removed_at = world_.now();
      it().may_be_wiped = false;
      stands(it());
    } else if (!kind.empty() && refused_although_clean() && !it().amnesia && !it().may_be_wiped &&
               (kind != "P5.undo-refused" || !it().journal_damaged) &&
               it().in_table == it().version) {
      fail(kind, it().label + said(outcome_));
    }
  }

  void taken_back() {
    change(&Login::handed, false, "");
    it().losses_unknown = true;  // the hold that was taken away may have been of another kind
  }

  // One that did not have to wait may have been done before the other one's answer came.
  void inspected() {
    if (it().token != outcome_.expected) return;
    compare(world_, prepared_.who, outcome_, how_, step_.verb, nullptr);
  }

  void looked() {
    if (outcome_.ok && !outcome_.flag && how_.clean)
      fail("P6.looking-changed", "a file was changed by looking");
    if (refused_although_clean()) fail("P6.look-refused", "looking failed" + said(outcome_));
    check_status(world_);
  }

  bool any_damage() const {
    for (int who = 0; who < books_.count(); ++who) {
      if (books_.login(who).journal_damaged) return true;
    }
    return false;
  }

  void upkeep() {
    const bool upkeep = step_.verb == Verb::backup || step_.verb == Verb::restore ||
                        step_.verb == Verb::key_rotate || step_.verb == Verb::key_prune;
    if (upkeep && refused_although_clean() && !any_damage() && !world_.provider_gone) {
      fail("upkeep.refused", std::string(name_of(step_.verb)) + said(outcome_));
    }
    if (step_.verb == Verb::backup && outcome_.ok)
      world_.backup_copy = table_copy(world_, backup_file(world_));
    if (step_.verb == Verb::backup && !outcome_.ok) world_.backup_copy.reset();
    if (step_.verb == Verb::key_prune) world_.forget_copies();
    if (step_.verb == Verb::restore) look_again(world_, prepared_, true);
    if (step_.verb == Verb::repair && !outcome_.crashed && !struck() && !world_.outsider())
      repaired();
  }

  void repaired() {
    for (int who = 0; who < books_.count(); ++who) books_.login(who).journal_damaged = false;
  }

  World& world_;
  Books& books_;
  const Step& step_;
  const Prepared& prepared_;
  const Before& how_;
  const Outcome& outcome_;
  const Acting& doing_;
};

}  // namespace

void judge(World& world, const Step& step, const Prepared& prepared, const Before& how,
           const Outcome& outcome, const Acting& doing) {
  if (acting() == nullptr) {
    world.last_ok = outcome.ok;
    world.last_said = outcome.crashed ? "died" : outcome.message;
  }
  Judge(world, step, prepared, how, outcome, doing).run();
}

}  // namespace authdb::model
