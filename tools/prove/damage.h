// The journal cut or damaged at every byte, with the real command: recovered or cleanly uncertain,
// never misread.
#pragma once

#include <array>
#include <filesystem>
#include <string>
#include <vector>

namespace authdb::prove {

// What the journal says when it is damaged.
enum class JournalAt { intent, sent, answered, settled };
inline constexpr std::array kJournalStates = {JournalAt::intent, JournalAt::sent,
                                              JournalAt::answered, JournalAt::settled};
const char* name_of(JournalAt state);

struct DamageResult {
  std::size_t cases = 0;
  std::size_t served = 0;     // a live bearer came of it
  std::size_t uncertain = 0;  // taken for sent, replayed, and refused by the portal
  std::size_t refused = 0;    // exit 7: damaged; kept, and nothing sent
  std::vector<std::string> violations{};
};

void add_up(DamageResult& all, const DamageResult& some);

// Every `stride`-th byte of what is used of the journal is changed; then the file is cut there.
DamageResult damage_journal(JournalAt state, const std::filesystem::path& authdb,
                            const std::filesystem::path& directory, std::size_t stride = 1);

}  // namespace authdb::prove
