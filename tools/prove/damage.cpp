#include "tools/prove/damage.h"

#include <nlohmann/json.hpp>
#include <stdexcept>

#include "tools/prove/invariants.h"
#include "tools/prove/scenario.h"

namespace authdb::prove {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kBlock = 64;  // a block with anything in it counts as used
constexpr const char* kScope = "inference:invoke";

// What the portal knows of the login: spent tokens, and the current one.
struct Login {
  std::vector<std::string> spent;
  Tokens current;
};

class Damage {
 public:
  Damage(JournalAt state, const fs::path& authdb, const fs::path& directory)
      : state_(state),
        stage_(authdb, directory / name_of(state)),
        template_(stage_.home("template")) {
    lay_out();
    whole_ = read_file(journal_in(template_));
  }

  DamageResult all(std::size_t stride) {
    std::size_t used = 0;
    for (std::size_t at = 0; at < whole_.size(); ++at) {
      if (!in_use(at) || used++ % stride != 0) continue;
      std::string flipped = whole_;
      flipped[at] = static_cast<char>(flipped[at] ^ 0x5A);
      one(flipped, "byte " + std::to_string(at) + " changed");
      one(whole_.substr(0, at), "cut at byte " + std::to_string(at));
    }
    return std::move(result_);
  }

 private:
  bool in_use(std::size_t at) const {
    const auto block = whole_.substr(at - at % kBlock, kBlock);
    return block.find_first_not_of('\0') != std::string::npos;
  }

  static fs::path journal_in(const Home& home) {
    for (const auto& entry : fs::recursive_directory_iterator(home.journals())) {
      if (entry.is_regular_file() && entry.file_size() >= 32768) return entry.path();
    }
    throw std::runtime_error("there is no journal in " + home.journals().string());
  }

  bool reached(const std::vector<Call>& calls) const {
    const Progress progress = progress_of(calls);
    switch (state_) {
      case JournalAt::intent:
        return progress.intended;
      case JournalAt::sent:
        return progress.posted;
      case JournalAt::answered:
        return progress.answered;
      case JournalAt::settled:
        break;
    }
    return false;
  }

  // Kills a first refresh where the journal has come to the state.
  void lay_out() {
    const auto grant = stage_.portal().create_grant({.scope = kScope});
    const Tokens first{grant.access_token, grant.refresh_token};
    const Home fresh = stage_.home("fresh");
    stage_.must(fresh, {"add", "nous", "--grant"}, expired_grant(first, kScope));
    for (std::size_t point = 1;; ++point) {
      copy_home(fresh, template_);
      stage_.portal().reset();
      stage_.portal().adopt({.refresh_token = first.refresh});
      const Traced traced = trace(stage_.command(template_, {"token", "nous"}), point);
      if (!traced.killed_before || reached(traced.calls)) break;
    }
    login_ = known_to_portal(first);
  }

  Login known_to_portal(const Tokens& first) {
    if (state_ == JournalAt::intent) return {{}, first};
    if (state_ == JournalAt::sent) return {{first.refresh}, {"", "nrt_SIM_nobody_ever_saw_this"}};
    const Home settled = stage_.home("settled");
    copy_home(template_, settled);
    stage_.must(settled, {"token", "nous"});
    return {{first.refresh}, tokens_in(settled).at(0)};
  }

  void one(const std::string& journal, const std::string& what) {
    const Home home = stage_.home("home");
    copy_home(template_, home);
    write_file(journal_in(home), journal);
    stage_.portal().reset();
    stage_.portal().adopt({.refresh_token = login_.current.refresh,
                           .access_token = login_.current.access,
                           .spent = login_.spent});
    ++result_.cases;
    what_ = std::string(name_of(state_)) + ", " + what;
    judge(home);
  }

  void judge(const Home& home) {
    judge_answer(home, stage_.authdb(home, {"token", "nous", "--json"}));
    if (state_ == JournalAt::settled) judge_refresh_of_settled(home);
    for (const auto& violation : check_store(home)) violated(violation);
    if (!violated_) return;
    copy_home(home, {stage_.directory() / ("case-" + std::to_string(result_.cases))});
    violated_ = false;
  }

  void judge_answer(const Home& home, const Finished& asked) {
    const auto totals = stage_.portal().counters().totals;
    if (asked.code == 0) {
      ++result_.served;
      const auto bearer = nlohmann::json::parse(asked.out, nullptr, false).value("token", "");
      if (!stage_.is_live(bearer)) violated("the bearer it gives is dead");
    } else if (asked.code == 7) {
      ++result_.refused;
      if (totals.token_posts != 0) violated("refused, and yet something was sent");
    } else if (asked.code == 4) {
      ++result_.uncertain;
    } else {
      violated("exit " + std::to_string(asked.code) + ": " + asked.err);
    }
    if (totals.reuse_detected > 0) judge_reuse(home, asked);
  }

  // Only a token that was sent may be sent again, and only after the ledger has said so.
  void judge_reuse(const Home& home, const Finished& asked) {
    if (state_ == JournalAt::intent || state_ == JournalAt::settled) violated("reuse");
    bool said = false;
    for (const LedgerRow& row : ledger_of(home)) said |= row.outcome == "uncertain";
    if (!said) violated("a token was sent again that nobody had called uncertain");
    if (asked.err.find("answer") == std::string::npos) {
      violated("not told that it was our own lost answer: " + asked.err);
    }
  }

  void judge_refresh_of_settled(const Home& home) {
    const Finished refresh = stage_.authdb(home, {"refresh", "nous"});
    if (refresh.code == 7) ++result_.refused;
    if (refresh.code != 0 && refresh.code != 5 && refresh.code != 7) {
      violated("refresh ended with " + std::to_string(refresh.code) + ": " + refresh.err);
    }
    if (stage_.portal().counters().totals.reuse_detected > 0) violated("reuse");
  }

  void violated(const std::string& text) {
    result_.violations.push_back(what_ + ": " + text);
    violated_ = true;
  }

  const JournalAt state_;
  Stage stage_;
  const Home template_;
  std::string whole_;
  Login login_;
  std::string what_;
  bool violated_ = false;
  DamageResult result_;
};

}  // namespace

const char* name_of(JournalAt state) {
  switch (state) {
    case JournalAt::intent:
      return "intent";
    case JournalAt::sent:
      return "sent";
    case JournalAt::answered:
      return "answered";
    case JournalAt::settled:
      break;
  }
  return "settled";
}

void add_up(DamageResult& all, const DamageResult& some) {
  all.cases += some.cases;
  all.served += some.served;
  all.uncertain += some.uncertain;
  all.refused += some.refused;
  all.violations.insert(all.violations.end(), some.violations.begin(), some.violations.end());
}

DamageResult damage_journal(JournalAt state, const fs::path& authdb, const fs::path& directory,
                            std::size_t stride) {
  return Damage(state, authdb, directory).all(stride);
}

}  // namespace authdb::prove
