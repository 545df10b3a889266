#include "migrate/export.h"

#include <algorithm>

#include "migrate/formats/format.h"
#include "migrate/formats/json_text.h"
#include "migrate/source_file.h"
#include "migrate/withheld.h"
#include "store/draft.h"
#include "store/files.h"
#include "store/shell_word.h"

namespace authdb::migrate {
namespace {

using nlohmann::json;

Result<void> check_nothing_is_lost(const Store& store, const std::filesystem::path& path,
                                   const Secret& text) {
  if (text.empty()) return {};  // made beforehand, by mktemp
  auto tree = parse_json(text.reveal(), path.string());
  if (!tree) {
    return fail(Errc::refused,
                path.string() + " is there, and whether it holds a login cannot be seen: " +
                    tree.error().message,
                "Give another place, or move that file away.");
  }
  const auto unseen = has_unknown_refresh_token(*tree, store);
  wipe_strings(*tree);
  if (!unseen) return fail(unseen.error());
  if (!*unseen) return {};
  return fail(Errc::refused,
              path.string() + " has a refresh token that this store has never seen: its login " +
                  "would be lost",
              "Import it first (authdb migrate " + shell_quoted(path.string()) +
                  "), or give another place.");
}

// False: the file changed after it was read.
Result<bool> put_export(const Store& store, const std::filesystem::path& path,
                        const Secret& document) {
  std::error_code error;
  const auto there = std::filesystem::symlink_status(path, error).type();
  if (there == std::filesystem::file_type::not_found) return create_durable(path, document);
  if (auto may = check_replaceable(path); !may) return fail(std::move(may.error()));
  const auto bytes = read_source(path);
  if (!bytes) return fail(bytes.error());
  if (auto may = check_nothing_is_lost(store, path, bytes->text); !may) {
    return fail(std::move(may.error()));
  }
  return replace_if_same(path, bytes->text, document);
}

}  // namespace

Result<void> check_format(std::string_view name) {
  if (format_named(name) != nullptr) return {};
  Error error{Errc::usage, "there is no such format", "--format is one of"};
  for (const Format* format : formats()) {
    error.hint += (error.hint.ends_with("of") ? " " : ", ") + std::string(format->name);
  }
  error.hint += ".";
  return fail(std::move(error));
}

Result<Secret> export_document(const Store& store, const ExportRequest& request) {
  if (auto known = check_format(request.format); !known) return fail(std::move(known.error()));
  const auto contents = contents_for(store, request);
  if (!contents) return fail(contents.error());
  auto tree = format_named(request.format)->tree(*contents, request);
  if (!tree) return fail(std::move(tree.error()));
  if (!request.with_refresh_tokens) {
    if (auto done = withhold_refresh_tokens(*tree, store); !done) return fail(done.error());
  }
  std::string text = tree->dump(2) + "\n";
  wipe_strings(*tree);
  return Secret::take(std::move(text));
}

Result<void> write_export(const Store& store, const std::filesystem::path& path,
                          const Secret& document) {
  for (int reading = 0; reading < kReadings; ++reading) {
    const auto done = put_export(store, path, document);
    if (!done) return fail(done.error());
    if (*done) return {};
  }
  return fail(Errc::try_later, path.string() + " changed each time it was read",
              "Nothing was changed. Stop the program that writes it, and try again.");
}

}  // namespace authdb::migrate
