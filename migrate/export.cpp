#include "migrate/export.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "migrate/fields.h"
#include "migrate/json_text.h"
#include "migrate/writers.h"
#include "store/files.h"

namespace authdb::migrate {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

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

// Also those in fields that nobody modelled, and in rows that could not be imported.
void strip_refresh_tokens(json& tree) {
  if (!tree.is_structured()) return;
  if (tree.is_object()) {
    for (const char* key : {"refresh_token", "refreshToken"}) {
      if (has_secret(tree, key)) tree.erase(key);
    }
  }
  for (json& child : tree) strip_refresh_tokens(child);
}

Error refused_target(const fs::path& path, const std::string& why) {
  return {Errc::refused, path.string() + ": " + why,
          "Give the name of a file that may be replaced, or of one that does not exist yet."};
}

// What stands there may be replaced only if it is a file of ours.
Result<void> check_target(const fs::path& path) {
  struct stat found {};
  if (::lstat(path.c_str(), &found) != 0) {
    return errno == ENOENT ? Result<void>() : fail(file_error("cannot look at", path, errno));
  }
  if (S_ISLNK(found.st_mode)) return fail(refused_target(path, "is a symbolic link"));
  if (!S_ISREG(found.st_mode)) return fail(refused_target(path, "is no regular file"));
  if (found.st_uid != ::geteuid()) return fail(refused_target(path, "belongs to another user"));
  return {};
}

Result<void> fill(const fs::path& path, const Secret& content) {
  const Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return fail(file_error("cannot create", path, errno));
  if (const int error = write_all(fd.get(), content.reveal(), 0)) {
    return fail(file_error("cannot write", path, error));
  }
  if (::fsync(fd.get()) != 0) return fail(file_error("cannot sync", path, errno));
  return {};
}

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
  if (!request.with_refresh_tokens) strip_refresh_tokens(*tree);
  std::string text = tree->dump(2) + "\n";
  wipe_strings(*tree);
  return Secret::take(std::move(text));
}

Result<void> write_private_file(const fs::path& path, const Secret& content) {
  if (auto checked = check_target(path); !checked) return checked;
  const fs::path directory = path.has_parent_path() ? path.parent_path() : fs::path(".");
  const fs::path temporary =
      directory / ("." + path.filename().string() + "." + std::to_string(::getpid()) + ".authdb");
  auto written = fill(temporary, content);
  if (written && ::rename(temporary.c_str(), path.c_str()) != 0) {
    written = fail(file_error("cannot replace", path, errno));
  }
  if (!written) {
    ::unlink(temporary.c_str());
    return written;
  }
  return sync_directory(directory);
}

}  // namespace authdb::migrate
