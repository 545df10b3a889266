#include "migrate/newer_pair.h"
#include "tools/command.h"
#include "tools/log.h"
#include "tools/provider_rules.h"
#include "tools/signals.h"

namespace authdb::cli {

std::optional<std::string> Context::chosen_profile() const {
  if (globals.profile) return globals.profile;
  if (auto named = env("AUTHDB_PROFILE"); named && !named->empty()) return named;
  const auto home = std::filesystem::path(env("HERMES_HOME").value_or("")).lexically_normal();
  const auto directory = home.has_filename() ? home : home.parent_path();  // a slash at the end
  if (directory.parent_path().filename() != "profiles") return std::nullopt;
  return directory.filename().string();
}

std::string Context::profile() const { return chosen_profile().value_or("default"); }

bool Context::colour() const {
  if (!out_is_terminal || globals.no_color || globals.json) return false;
  const auto no_color = env("NO_COLOR");  // https://no-color.org: set and not empty
  return !(no_color && !no_color->empty()) && env("TERM") != "dumb";
}

const oauth::ProviderRegistry& Context::registry() {
  if (!loaded) {
    loaded = std::make_shared<const oauth::ProviderRegistry>(oauth::ProviderRegistry::load(
        providers_dir.empty() ? oauth::ProviderRegistry::default_directory() : providers_dir));
  }
  return *loaded;
}

oauth::BearerParts Context::bearer_parts() {
  return {[this]() -> const oauth::ProviderRegistry& { return registry(); },
          http ? http : oauth::curl_transport(), env};
}

void Context::note(std::string_view text) {
  if (!globals.quiet) err << text << '\n';
}

void Context::warn(std::string_view text) {
  if (!globals.quiet) err << "authdb: warning: " << text << '\n';
}

StoreOptions store_options(Context& context) {
  StoreOptions options;
  options.clock = context.clock;
  options.lock_wait = context.lock_wait;
  options.endpoint_for = oauth::endpoints(context.bearer_parts(), context.clock);
  options.shield = [] { return std::make_shared<SignalShield>(); };
  if (context.globals.verbose) options.log = stream_logger(context.err);
  options.look_elsewhere = [&context, log = options.log](const Store& store, const Uid& uid) {
    const auto taken = migrate::adopt_newer_pair(store, uid, provider_rules(context));
    if (!log) return;
    if (!taken) log(LogLevel::warning, "no newer pair was looked for: " + taken.error().message);
    if (taken && *taken) {
      log(LogLevel::info, "the pair in " + (*taken)->path + " was taken: " + (*taken)->reason);
    }
  };
  if (context.globals.store) {
    options.path = *context.globals.store;
  } else if (auto path = context.env("AUTHDB_STORE"); path && !path->empty()) {
    options.path = *path;
  }
  if (auto key = context.env("AUTHDB_KEY_FILE"); key && !key->empty()) options.key_file = *key;

  return options;
}

Result<Store> open_store(Context& context, OpenMode mode) {
  auto store = Store::open(store_options(context), mode);
  if (!store && store.error().code == Errc::not_found) {
    auto error = std::move(store).error();
    error.hint =
        "Make one with `authdb migrate` from the files of other tools, with `authdb login "
        "PROVIDER`, "
        "or with `authdb add PROVIDER` for an API key; or name another with --store.";
    return fail(std::move(error));
  }
  return store;
}

}  // namespace authdb::cli
