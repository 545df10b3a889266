#include "migrate/export.h"

#include <algorithm>
#include <array>

#include "migrate/json_text.h"
#include "migrate/withheld.h"
#include "migrate/writers.h"

namespace authdb::migrate {
namespace {

using nlohmann::json;

struct Name {
  Format format;
  std::string_view name;
};
constexpr std::array kNames{
    Name{Format::hermes, "hermes"},
    Name{Format::hermes_anthropic, "hermes-anthropic"},
    Name{Format::hermes_shared_nous, "hermes-shared-nous"},
    Name{Format::claude, "claude"},
    Name{Format::codex, "codex"},
    Name{Format::qwen, "qwen"},
    Name{Format::opencode, "opencode"},
};

}  // namespace

std::optional<Format> format_named(std::string_view name) {
  const auto* it =
      std::find_if(kNames.begin(), kNames.end(), [&](const Name& n) { return n.name == name; });
  return it == kNames.end() ? std::nullopt : std::optional(it->format);
}

std::string_view name_of(Format format) {
  return std::find_if(kNames.begin(), kNames.end(),
                      [&](const Name& n) { return n.format == format; })
      ->name;
}

Result<Secret> export_document(const Store& store, const ExportRequest& request) {
  const auto contents = contents_for(store, request);
  if (!contents) return fail(contents.error());
  auto tree = tool_tree(*contents, request);
  if (!tree) return fail(std::move(tree.error()));
  if (!request.with_refresh_tokens) {
    if (auto done = withhold_refresh_tokens(*tree, store); !done) return fail(done.error());
  }
  std::string text = tree->dump(2) + "\n";
  wipe_strings(*tree);
  return Secret::take(std::move(text));
}

}  // namespace authdb::migrate
