// authdb profile: who may use what.
#include <algorithm>
#include <array>

#include "store/target.h"
#include "store/words.h"
#include "tools/choice.h"
#include "tools/commands/commands.h"
#include "tools/render/json.h"
#include "tools/render/table.h"
#include "tools/render/text.h"

namespace authdb::cli {
namespace {

constexpr std::string_view kManual =
    R"man(A profile is a named consumer, with a pool of credentials for each provider. A
credential is in the store once, however many profiles use it.

  authdb profile list
  authdb profile add NAME
  authdb profile remove NAME                     its credentials stay in the store
  authdb profile bind NAME PROVIDER TARGET       let it use a credential
  authdb profile unbind NAME PROVIDER TARGET     not any more
  authdb profile strategy NAME PROVIDER S        which credential is next

For bind, a TARGET that is a label or a place is looked up in the profile of
--profile; a uid or fingerprint is the same everywhere. The strategies are
  fill_first   the first until it is exhausted, then the next (the default)
  round_robin  the one that was used longest ago
  least_used   the one with the fewest requests
  random       any

Exit codes
  0 done   2 usage, or ambiguous target   3 no such store, profile, provider or target
  6 busy   7 refused

Examples
  authdb profile add atlas
  authdb profile bind atlas nous work@example.org
  authdb profile strategy atlas openrouter round_robin
)man";

using Words = std::vector<std::string>;

Result<int> done(Context& context, const std::string& sentence, Json json) {
  if (context.globals.json) {
    print_json(context.out, json);
  } else {
    context.out << sentence << '\n';
  }
  return kOk;
}

Result<void> check_new_name(const std::string& name) {
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("._-").find(c) != std::string_view::npos;
  };
  if (!name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), fits)) return {};
  return fail(Errc::usage, "that is no name for a profile",
              "It has letters, digits and . _ - in it.");
}

Result<Json> profile_json(const Store& store, const std::string& name) {
  const auto providers = store.providers();
  if (!providers) return fail(providers.error());
  auto pools = Json::array();
  for (const auto& provider : *providers) {
    const auto pool = store.pool(name, provider);
    if (!pool) return fail(pool.error());
    if (pool->empty()) continue;
    const auto state = store.provider_state(name, provider);
    if (!state) return fail(state.error());
    pools.push_back({{"provider", provider},
                     {"credentials", pool->size()},
                     {"strategy", word(state->strategy)}});
  }
  return Json{{"name", name}, {"providers", std::move(pools)}};
}

std::string summary(const Json& pools) {
  std::vector<std::string> parts;
  for (const auto& pool : pools) {
    auto part = pool["provider"].get<std::string>() + " (" + pool["credentials"].dump();
    if (pool["strategy"] != "fill_first") part += ", " + pool["strategy"].get<std::string>();
    parts.push_back(part + ")");
  }
  return joined(parts);
}

Result<int> list(Context& context, Store& store, const Words&) {
  const auto names = store.profiles();
  if (!names) return fail(names.error());
  auto json = Json::array();
  for (const auto& name : *names) {
    auto profile = profile_json(store, name);
    if (!profile) return fail(profile.error());
    json.push_back(*std::move(profile));
  }
  if (context.globals.json) return done(context, {}, json);
  Table table({"PROFILE", "CREDENTIALS"});
  for (const auto& profile : json) {
    table.add({{profile["name"].get<std::string>()}, {summary(profile["providers"])}});
  }
  table.draw(context.out, context.colour());
  return kOk;
}

Result<int> add(Context& context, Store& store, const Words& words) {
  const auto& name = words[0];
  if (auto fits = check_new_name(name); !fits) return fail(fits.error());
  if (check_profile(store, name)) {
    return fail(Errc::usage, "there is a profile " + in_quotes(name) + " already");
  }
  if (auto added = store.add_profile(name); !added) return fail(added.error());
  return done(context, "Added profile " + in_quotes(name), {{"added", name}});
}

Result<int> remove(Context& context, Store& store, const Words& words) {
  const auto& name = words[0];
  if (auto known = check_profile(store, name); !known) return fail(known.error());
  if (auto removed = store.remove_profile(name); !removed) return fail(removed.error());
  return done(context, "Removed profile " + in_quotes(name) + "; its credentials stay in the store",
              {{"removed", name}});
}

Json binding_json(const std::string& name, const PoolEntry& entry, bool bound) {
  return {{"profile", name},
          {"provider", entry.credential.identity.provider},
          {"credential", entry.credential.uid},
          {"label", entry.credential.identity.label},
          {"bound", bound}};
}

Result<int> bind(Context& context, Store& store, const Words& words) {
  const auto& name = words[0];
  if (auto known = check_profile(store, name); !known) return fail(known.error());
  const auto entry = find_anywhere(context, store, context.profile(), words[1], words[2]);
  if (!entry) return fail(entry.error());
  if (auto bound = store.bind(name, entry->credential.uid); !bound) return fail(bound.error());
  return done(context, "Profile " + in_quotes(name) + " may use the " + described(*entry),
              binding_json(name, *entry, true));
}

Result<int> unbind(Context& context, Store& store, const Words& words) {
  const auto& name = words[0];
  if (auto known = check_profile(store, name); !known) return fail(known.error());
  const auto entry = find_target(context, store, name, words[1], words[2]);
  if (!entry) return fail(entry.error());
  if (entry->position == 0) {
    return fail(Errc::not_found,
                "profile " + in_quotes(name) + " does not use the " + described(*entry));
  }
  if (auto unbound = store.unbind(name, entry->credential.uid); !unbound) {
    return fail(unbound.error());
  }
  return done(context, "Profile " + in_quotes(name) + " no longer uses the " + described(*entry),
              binding_json(name, *entry, false));
}

Result<int> strategy(Context& context, Store& store, const Words& words) {
  const auto& name = words[0];
  const auto chosen = from_word<Strategy>(words[2]);
  if (!chosen) {
    std::vector<std::string> names;
    for (const auto& [value, text] : authdb::Words<Strategy>::all) names.emplace_back(text);
    return fail(Errc::usage, "there is no strategy " + in_quotes(words[2]),
                "There are " + joined(names) + ".");
  }
  if (auto known = check_profile(store, name); !known) return fail(known.error());
  const auto provider = known_provider(context, store, words[1]);
  if (!provider) return fail(provider.error());
  if (auto set = store.set_strategy(name, *provider, *chosen); !set) return fail(set.error());
  return done(context,
              "Profile " + in_quotes(name) + " picks " + printable(*provider) + " credentials by " +
                  std::string(word(*chosen)),
              {{"profile", name}, {"provider", *provider}, {"strategy", word(*chosen)}});
}

struct Verb {
  std::string_view name;
  std::string_view takes;
  std::size_t words;
  OpenMode mode;
  Result<int> (*run)(Context&, Store&, const Words&);
};

constexpr std::array kVerbs{
    Verb{"list", "", 0, OpenMode::look, list},
    Verb{"add", "NAME", 1, OpenMode::use, add},
    Verb{"remove", "NAME", 1, OpenMode::use, remove},
    Verb{"bind", "NAME PROVIDER TARGET", 3, OpenMode::use, bind},
    Verb{"unbind", "NAME PROVIDER TARGET", 3, OpenMode::use, unbind},
    Verb{"strategy", "NAME PROVIDER S", 3, OpenMode::use, strategy},
};

Result<const Verb*> find_verb(const std::string& name) {
  std::vector<std::string> names;
  for (const auto& verb : kVerbs) {
    if (verb.name == name) return &verb;
    names.emplace_back(verb.name);
  }
  const auto close = nearest(name, names);
  return fail(Errc::usage, "there is no `profile " + printable(name) + "`",
              close.empty() ? "There are " + joined(names) + "."
                            : "Did you mean " + joined(close, " or ") + "?");
}

Result<int> run(Context& context, const std::string& action, const Words& words) {
  const auto verb = find_verb(action);
  if (!verb) return fail(verb.error());
  if (words.size() != (*verb)->words) {
    return fail(Errc::usage, "`profile " + action + "` takes other arguments",
                "usage: authdb profile " + action + " " + std::string((*verb)->takes));
  }
  auto store = open_store(context, (*verb)->mode);
  if (!store) return fail(store.error());
  return (*verb)->run(context, *store, words);
}

Run declare(Arguments& arguments) {
  struct Options {
    std::string action;
    Words words;
  };
  auto options = std::make_shared<Options>();
  arguments.positional("ACTION", options->action, "list, add, remove, bind, unbind or strategy");
  arguments.rest("WORD", options->words, "what the action takes, see above");
  return [options](Context& context) { return run(context, options->action, options->words); };
}

}  // namespace

const Command kProfile{"profile", Group::manage, "who may use what, and in which way", kManual,
                       declare};

}  // namespace authdb::cli
