// authdb login: a person grants this machine a new session.
#include "oauth/login.h"

#include <algorithm>
#include <charconv>

#include "oauth/discovery.h"
#include "oauth/new_session.h"
#include "oauth/url.h"
#include "tools/choice.h"
#include "tools/commands/commands.h"
#include "tools/projections.h"
#include "tools/render/duration.h"
#include "tools/render/json.h"
#include "tools/render/qr_code.h"
#include "tools/render/text.h"
#include "tools/signals.h"

namespace authdb::cli {
namespace {

constexpr std::string_view kManual =
    R"man(Logs in to a provider and keeps the grant. Most providers show a code to enter on
a page that may be opened anywhere, also on a telephone: the QR code leads there.
Others come back to a browser on this machine, or show a code to paste. The page
is opened with xdg-open where there is a terminal and a desktop.

What was there before is replaced only when the new grant is in hand. The same
account is the same credential, which starts its next family: it is no longer
dead, held or cooling. Another account becomes a new credential. Where a provider
does not say whose login it is, --label names the credential that is meant;
without it there is a new one. The credential is bound to the profile. The store
is made if there is none.

A login that you approved is kept: where the old credential cannot be renewed (its
journal cannot be opened, another process does not let go of it), as a new one,
with a warning. Where the store cannot be written at all, a terminal asks whether to try
again.

With --json each event is one line on stdout: "visit" (url, complete_url,
user_code, and a message if an address of the server was none to be shown),
"slower", "trouble", and at last "logged_in" or "failed". Nothing is opened then.
With "paste" the code that the page shows is expected on stdin, as one line.

Ctrl-C ends it and changes nothing; once the provider has begun to answer with
the grant it waits until that is stored.

Exit codes
  0 done   2 usage   3 no such provider   4 denied, or refused by the provider
  5 nobody came in time, or the provider cannot be reached   6 busy   7 refused

Examples
  authdb login nous
  authdb login codex --label work --no-browser
  authdb login nous --json --timeout 300
)man";

struct Options {
  std::string provider;
  std::optional<std::string> label;
  std::optional<std::string> timeout;
  bool browser = false;
  bool no_browser = false;
};

void print_line(std::ostream& out, const Json& json) {
  out << json.dump(-1, ' ', false, Json::error_handler_t::replace) << std::endl;
}

bool shows_utf8(const oauth::Environment& env) {
  for (const char* variable : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const auto locale = env(variable);
    if (!locale || locale->empty()) continue;
    return locale->find("UTF-8") != std::string::npos || locale->find("utf8") != std::string::npos;
  }
  return false;
}

bool err_has_colour(Context& context) {
  const auto no_color = context.env("NO_COLOR");
  return context.err_is_terminal && !context.globals.no_color && context.env("TERM") != "dumb" &&
         (!no_color || no_color->empty());
}

// Shows what happens to a person, or to the program that reads --json.
class Narrator {
 public:
  Narrator(Context& context, const oauth::Provider& provider, bool no_browser)
      : context_(context), provider_(provider), no_browser_(no_browser) {}

  void tell(const oauth::LoginEvent& event) const {
    if (context_.globals.json) return print_line(context_.out, as_json(event));
    switch (event.kind) {
      case oauth::LoginEvent::Kind::visit:
        return show_page(event);
      case oauth::LoginEvent::Kind::slower:
        return;  // nothing that a person could do about it
      case oauth::LoginEvent::Kind::trouble:
        return context_.warn(event.message + "; trying again in " +
                             duration(std::chrono::ceil<Seconds>(event.interval)));
    }
  }

 private:
  Json as_json(const oauth::LoginEvent& event) const {
    const double seconds = static_cast<double>(event.interval.count()) / 1000;
    switch (event.kind) {
      case oauth::LoginEvent::Kind::slower:
        return {{"event", "slower"}, {"interval_s", seconds}};
      case oauth::LoginEvent::Kind::trouble:
        return {{"event", "trouble"}, {"message", event.message}, {"retry_in_s", seconds}};
      case oauth::LoginEvent::Kind::visit:
        break;
    }
    Json visit{{"event", "visit"},
               {"provider", provider_.id},
               {"url", event.url},
               {"complete_url", or_null(event.complete_url)},
               {"user_code", or_null(event.user_code)},
               {"paste", event.paste},
               {"expires_at", to_json(event.expires_at)},
               {"interval_s", event.interval.count() == 0 ? Json() : Json(seconds)}};
    if (!event.message.empty()) visit["message"] = event.message;
    return visit;
  }

  // Never left out, not even under --quiet: without it nobody can log in.
  void show_page(const oauth::LoginEvent& event) const {
    auto& err = context_.err;
    err << "To log in to " << printable(provider_.name.empty() ? provider_.id : provider_.name)
        << ", open\n  " << printable(event.url) << '\n';
    if (!event.user_code.empty())
      err << "and enter the code\n  " << printable(event.user_code) << '\n';
    if (!event.message.empty()) context_.warn(event.message);
    show_qr_code(event.complete_url);
    if (opened(event.complete_url.empty() ? event.url : event.complete_url)) {
      context_.note("The page has been opened in your browser.");
    }
    if (event.expires_at) {
      const auto left = std::chrono::ceil<Seconds>(*event.expires_at - context_.clock());
      context_.note("Waiting for you, for at most " + duration(left) + " …");
    }
    err.flush();
  }

  void show_qr_code(const std::string& url) const {
    if (url.empty() || !context_.err_is_terminal || !shows_utf8(context_.env)) return;
    context_.err << qr_code(url, err_has_colour(context_));
  }

  bool opened(const std::string& url) const {
    return !no_browser_ && context_.err_is_terminal && context_.browse && context_.browse(url);
  }

  Context& context_;
  const oauth::Provider& provider_;
  bool no_browser_;
};

// One line: the code that a page showed.
Result<Secret> read_code(Context& context, std::string_view prompt) {
  if (context.ask) return context.ask(prompt);
  constexpr std::streamsize kLongest = 64 << 10;
  std::string line(kLongest, '\0');  // never grown, so never copied
  context.in.getline(line.data(), kLongest);
  const bool too_long = context.in.gcount() == kLongest - 1 && context.in.fail();
  line.resize(std::char_traits<char>::length(line.c_str()));
  auto code = Secret::take(std::move(line));
  if (too_long) return fail(Errc::usage, "the line on stdin is too long for a code");
  if (code.empty()) {
    return fail(Errc::usage, "there is no code on stdin",
                "Write the code that the page shows to stdin, or run the command at a terminal.");
  }
  return code;
}

// Whitespace around what was pasted is no part of it.
Secret trimmed(const Secret& text) {
  const std::string_view all = text.reveal();
  const auto first = all.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return {};
  return Secret::copy_of(all.substr(first, all.find_last_not_of(" \t\r\n") - first + 1));
}

Result<Seconds> timeout_of(const Options& options, const std::string& flow) {
  constexpr std::int64_t kLongest = 86'400;
  if (!options.timeout) return Seconds{900};
  if (flow == "pasted_code") {
    return fail(Errc::usage, "--timeout is for logins that are waited for; this one waits for you");
  }
  std::int64_t seconds = 0;
  const std::string& text = *options.timeout;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error != std::errc() || end != text.data() + text.size() || seconds < 1 ||
      seconds > kLongest) {
    return fail(Errc::usage, "--timeout is a number of seconds, from 1 to 86400");
  }
  return Seconds{seconds};
}

oauth::LoginParts login_parts(Context& context, const oauth::Provider& provider,
                              const Narrator& narrator, Seconds timeout) {
  oauth::LoginParts parts;
  parts.provider = &provider;
  parts.http = context.bearer_parts().http;
  parts.environment = context.env;
  parts.clock = context.clock;
  parts.wait = context.wait;
  parts.shield = [] { return std::make_shared<SignalShield>(); };
  parts.tell = [&narrator](const oauth::LoginEvent& event) { narrator.tell(event); };
  parts.ask = [&context](std::string_view prompt) {
    return read_code(context, prompt).map([](const Secret& code) { return trimmed(code); });
  };
  parts.timeout = timeout;
  return parts;
}

void print(Context& context, const oauth::KeptSession& kept, const PoolEntry& entry) {
  const Credential& row = entry.credential;
  if (context.globals.json) {
    return print_line(context.out, {{"event", "logged_in"},
                                    {"provider", row.identity.provider},
                                    {"credential", row.uid},
                                    {"label", row.identity.label},
                                    {"account", or_null(row.identity.account)},
                                    {"profile", context.profile()},
                                    {"renewed", kept.renewed},
                                    {"expires_at", to_json(row.expires_at)},
                                    {"session_ends_at", to_json(row.session_ends_at)}});
  }
  context.out << (kept.renewed ? "Logged in again: " : "Logged in: ") << described(entry) << '\n';
}

Result<const oauth::Provider*> find_provider(Context& context, const Options& options) {
  if (const auto* provider = context.registry().find_oauth(options.provider)) return provider;
  if (context.registry().find(options.provider) != nullptr) {
    return fail(Errc::not_found, options.provider + " has API keys alone: there is no login",
                "Store a key: authdb add " + options.provider + ".");
  }
  if (options.provider.empty()) {
    return fail(Errc::not_found, "the name of the provider is empty",
                "`authdb providers` lists them.");
  }
  return fail(Errc::not_found,
              "there is no provider " + in_quotes(options.provider) + " to log in to",
              "`authdb providers` lists them; a file in providers.d adds one.");
}

// The session is in this process alone. Where it cannot be stored, whoever is there may free space
// or end what holds the store, and have it tried once more.
Result<oauth::KeptSession> keep(Context& context, Store& store, oauth::NewSession& session,
                                const oauth::KeepOptions& options) {
  for (;;) {
    auto kept = oauth::keep_session(store, session, options);
    session.shield.reset();
    if (kept || !context.ask) return kept;
    context.warn(kept.error().message);
    const auto answer = context.ask("Mend it, then Enter tries again; Ctrl-C gives the login up. ");
    if (!answer || answer->empty()) return kept;
    session.shield = std::make_shared<SignalShield>();
  }
}

Result<int> log_in(Context& context, const Options& options) {
  if (options.label && options.label->empty()) return fail(Errc::usage, "--label is empty");
  if (options.browser && options.no_browser) {
    return fail(Errc::usage, "--browser and --no-browser exclude each other");
  }
  const auto found = find_provider(context, options);
  if (!found) return fail(found.error());
  oauth::Discovery discovery(context.bearer_parts().http, context.env, context.clock);
  const auto completed = discovery.completed(**found, options.browser);
  if (!completed) return fail(completed.error());
  const oauth::Provider& provider = *completed;
  const auto flow = oauth::login_flow(provider, options.browser);
  if (!flow) return fail(flow.error());
  const auto timeout = timeout_of(options, *flow);
  if (!timeout) return fail(timeout.error());

  auto store = open_store(context, OpenMode::create);
  if (!store) return fail(store.error());
  const oauth::KeepOptions place{context.profile(), options.label.value_or("")};
  const auto keepable = oauth::check_keepable(*store, provider.id, place.label);
  if (!keepable) return fail(keepable.error());
  for (const auto& warning : *keepable) context.warn(warning);
  const Narrator narrator(context, provider, options.no_browser);
  auto session = oauth::log_in(login_parts(context, provider, narrator, *timeout), *flow);
  if (!session) return fail(session.error());
  const auto kept = keep(context, *store, *session, place);
  if (!kept) return fail(kept.error());

  if (!kept->warning.empty()) context.warn(kept->warning);
  const auto entry = find_target(context, *store, place.profile, provider.id, kept->uid);
  if (!entry) return fail(entry.error());
  print(context, *kept, *entry);
  update_projections(context, *store);
  return kOk;
}

Result<int> run(Context& context, const Options& options) {
  auto status = log_in(context, options);
  if (!status && context.globals.json) {
    print_line(context.out, {{"event", "failed"},
                             {"exit_code", exit_code(status.error().code)},
                             {"message", status.error().message}});
  }
  return status;
}

Run declare(Arguments& arguments) {
  auto options = std::make_shared<Options>();
  arguments.positional("PROVIDER", options->provider, "whom to log in to");
  arguments.option("--label", "L", options->label, "which credential to renew, or what to call it");
  arguments.option("--timeout", "S", options->timeout, "how long to wait for you; default 900");
  arguments.flag("--browser", options->browser,
                 "in a browser of this machine, where a code is the other way");
  arguments.flag("--no-browser", options->no_browser, "open nothing, only show where to go");
  return [options](Context& context) { return run(context, *options); };
}

}  // namespace

const Command kLogin{"login", Group::setup, "log in to a provider", kManual, declare};

}  // namespace authdb::cli
