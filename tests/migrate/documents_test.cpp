// Every sample and every nasty document, with what becomes of it written beside it: NAME.json and
// NAME.plan. AUTHDB_WRITE_PLANS=1 writes the plans anew, to be read before they are committed.
#include <cstdlib>
#include <set>

#include "migrate/formats/format.h"
#include "tests/migrate/support.h"

namespace authdb::migrate {
namespace {

using namespace authdb::migrate::testing;

std::string replaced(std::string text, const std::string& path) {
  for (auto at = text.find(path); at != std::string::npos; at = text.find(path)) {
    text.replace(at, path.size(), "FILE");
  }
  return text;
}

// Of one line, without the directory that this run made.
std::string visible(const std::string& text, const std::string& path) {
  std::string shown =
      json(replaced(text, path)).dump(-1, ' ', true, json::error_handler_t::replace);
  shown = shown.substr(1, shown.size() - 2);
  return shown.size() > 200 ? shown.substr(0, 200) + "..." : shown;
}

// What a person would be told, and what the profile would get.
std::string plan_text(const std::vector<Document>& documents) {
  const Document& document = documents.front();
  if (document.failure) {
    return "refused (exit " + std::to_string(static_cast<int>(document.failure->code)) +
           "): " + document.failure->message + "\n";
  }
  const auto shown = [&](const std::string& text) { return visible(text, document.path.string()); };
  MigrateOptions options;
  options.now = at("2026-11-01T00:00:00Z");
  const auto made = plan(documents, nullptr, options);
  if (!made) return "no plan: " + made.error().message + "\n";
  const SourceReport& source = made->sources.front();
  std::string out = document.format + ": " + std::to_string(source.rows) + " rows, " +
                    std::to_string(source.imported) + " imported, " +
                    std::to_string(source.merged) + " merged, " + std::to_string(source.stale) +
                    " stale\n";
  for (const auto& one : source.skipped) {
    out += "skipped " + shown(one.row) + ": " + shown(one.reason) + "\n";
  }
  for (const auto& decision : made->decisions) {
    out += decision.action + " " + shown(decision.provider) + " " + shown(decision.label) + ": " +
           shown(decision.reason) + "\n";
  }
  for (const auto& state : made->change.states) {
    out += "state of " + shown(state.provider) + (state.active ? ": active" : ":");
    for (const auto& word : state.suppressed_sources) out += " without " + shown(word);
    out += "\n";
  }
  for (const auto& warning : made->warnings) out += "warning " + warning.code + "\n";
  return out;
}

class Documents : public ::testing::TestWithParam<fs::path> {};

TEST_P(Documents, BecomesWhatItsPlanSays) {
  const TempDir dir;
  const auto file = dir.write("auth.json", contents(GetParam()));
  std::vector<Document> documents;
  documents.push_back(read_document(file, "default"));
  const std::string made = replaced(plan_text(documents), file.string());
  auto expected = GetParam();
  expected.replace_extension(".plan");
  if (std::getenv("AUTHDB_WRITE_PLANS")) std::ofstream(expected) << made;

  EXPECT_EQ(made, contents(expected));
}

std::vector<fs::path> all_documents() {
  std::set<fs::path> files;
  for (const char* folder : {"samples", "nasty"}) {
    for (const auto& entry : fs::directory_iterator(fs::path(AUTHDB_TEST_DATA) / folder)) {
      if (entry.path().extension() == ".json") files.insert(entry.path());
    }
  }
  return {files.begin(), files.end()};
}

INSTANTIATE_TEST_SUITE_P(All, Documents, ::testing::ValuesIn(all_documents()),
                         [](const auto& test) {
                           const auto& path = test.param;
                           return path.parent_path().filename().string() + "_" +
                                  path.stem().string();
                         });

}  // namespace
}  // namespace authdb::migrate
