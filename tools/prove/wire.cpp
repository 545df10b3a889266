#include "tools/prove/wire.h"

#include <algorithm>

namespace authdb::prove {
namespace {

bool knows_successor(const LedgerRow& row) {
  return row.outcome == "committed" || row.outcome == "recovered" || row.outcome == "superseded";
}

// What there is about one refresh token.
struct Story {
  std::vector<const portal::RequestRecord*> posts;
  std::vector<const LedgerRow*> attempts;  // those that may have left the machine
};

// ` (posted at 12: 200; process 7, 11 to 13: committed)`
std::string told(const Story& story) {
  std::string text;
  for (const auto* post : story.posts) {
    text += (text.empty() ? " (" : "; ") + std::string("posted at ") + std::to_string(post->at_ms) +
            ": " + std::to_string(post->status);
  }
  for (const LedgerRow* row : story.attempts) {
    text += (text.empty() ? " (" : "; ") + std::string("process ") + std::to_string(row->pid) +
            ", to " + std::to_string(row->finished_at) + ": " + row->outcome;
  }
  return text.empty() ? text : text + ")";
}

using Stories = std::map<std::string, Story>;

Stories stories_of(const Wire& wire) {
  Stories stories;
  for (const auto& request : wire.requests) {
    if (request.endpoint == portal::Endpoint::kToken && !request.refresh_token.empty()) {
      stories[request.refresh_token].posts.push_back(&request);
    }
  }
  for (const LedgerRow& row : wire.ledger) {
    if (row.kind == "refresh" && row.outcome != "not_sent" && !row.token.empty()) {
      stories[row.token].attempts.push_back(&row);
    }
  }
  return stories;
}

class Check {
 public:
  explicit Check(const Wire& wire) : wire_(wire), stories_(stories_of(wire)) {}

  WireFindings all() {
    for (const auto& [token, story] : stories_) {
      count_replays(story);
      never_after_its_successor(token, story);
      each_post_has_its_attempt(token, story);
    }
    one_at_a_time();
    every_uncertainty_has_a_cause();
    every_loss_has_a_cause();
    return std::move(findings_);
  }

 private:
  void count_replays(const Story& story) {
    if (story.posts.size() > 1) findings_.replays += story.posts.size() - 1;
  }

  void never_after_its_successor(const std::string& token, const Story& story) {
    for (const LedgerRow* row : story.attempts) {
      if (!knows_successor(*row)) continue;
      for (const auto* post : story.posts) {
        if (post->at_ms > row->finished_at) {
          violated(token + " was sent at " + std::to_string(post->at_ms) +
                   ", after its successor was known (" + row->outcome + " at " +
                   std::to_string(row->finished_at) + ")");
        }
      }
    }
  }

  // An attempt is in the ledger before the next one of its token begins, and the last one when all
  // is recovered. But for one that was answered with a definite no: who is killed between the
  // journal, where it says that the token is unspent, and the ledger leaves nothing to recover.
  void each_post_has_its_attempt(const std::string& token, const Story& story) {
    const auto refused = static_cast<std::size_t>(
        std::count_if(story.posts.begin(), story.posts.end(), [](const auto* post) {
          return post->status == 400 || post->status == 429 || post->status == 503;
        }));
    const bool none_refused = refused == 0 || wire_.killed.empty();
    const std::size_t needed = story.posts.size() - (none_refused ? 0 : refused);
    if (needed > story.attempts.size()) {
      violated(token + " was sent " + std::to_string(story.posts.size()) +
               " times, and the ledger has " + std::to_string(story.attempts.size()) +
               " attempts of it" + told(story));
    }
  }

  void one_at_a_time() {
    for (const auto& [token, counted] : wire_.counters.tokens) {
      if (counted.max_in_flight > 1) violated(token + " was in flight twice at one moment");
    }
  }

  // An attempt that its own process gave up has an error code; one that was found in a journal does
  // not, and its process must have died by our hand.
  void every_uncertainty_has_a_cause() {
    std::uint64_t given_up = 0;
    for (const LedgerRow& row : wire_.ledger) {
      if (row.outcome != "uncertain") continue;
      if (!row.error_code.empty()) {
        ++given_up;
      } else if (!wire_.killed.contains(row.pid)) {
        violated("the attempt of process " + std::to_string(row.pid) + " on " + row.token +
                 " is uncertain, and nobody killed it");
      }
    }
    if (given_up > wire_.lost_answers) {
      violated(std::to_string(given_up) + " answers were given up, and only " +
               std::to_string(wire_.lost_answers) + " were lost on the way");
    }
  }

  void every_loss_has_a_cause() {
    for (const auto& [token, counted] : wire_.counters.tokens) {
      if (counted.state != "reused") continue;
      const Story& story = stories_[token];
      const auto& attempts = story.attempts;
      const bool uncertain =
          std::any_of(attempts.begin(), attempts.end(),
                      [](const LedgerRow* row) { return row->outcome == "uncertain"; });
      if (uncertain) {
        ++findings_.lost;
        continue;
      }
      ++findings_.unexplained;
      ++findings_.unexplained_reuse;
      violated(token + " of " + counted.family +
               " was sent again, and the ledger does not say why" + told(story));
    }
  }

  void violated(const std::string& what) { findings_.violations.push_back(what); }

  const Wire& wire_;
  Stories stories_;
  WireFindings findings_;
};

}  // namespace

WireFindings check_wire(const Wire& wire) { return Check(wire).all(); }

}  // namespace authdb::prove
