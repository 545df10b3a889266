#include "tests/tools/harness.h"

#include <cstdlib>
#include <fstream>
#include <sstream>

namespace authdb::cli {

void PrintTo(const Ran& ran, std::ostream* out) {
  *out << "exit status " << ran.status << "\n--- stdout\n" << ran.out << "--- stderr\n" << ran.err;
}

TempDir::TempDir() {
  auto pattern = (std::filesystem::temp_directory_path() / "authdb-tools-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
  path_ = pattern;
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

void write_file(const std::filesystem::path& path, std::string_view text) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
  std::filesystem::permissions(
      path, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
}

std::string read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

Answer ScriptedTransport::perform(const oauth::HttpRequest& request,
                                  const std::function<bool()>& sent) {
  Answer answer;
  answer.started_at = clock();
  urls_.push_back(request.url);
  constexpr std::string_view kField = "refresh_token=";
  const std::string_view body = request.body.reveal();
  if (const auto begin = body.find(kField); begin != body.npos) {
    const std::string_view rest = body.substr(begin + kField.size());
    sent_tokens_.emplace_back(rest.substr(0, rest.find('&')));
  }
  if (answers_.empty()) {
    ADD_FAILURE() << "nobody expected a request to " << request.url;
    answer.failure = "no answer";
    return answer;
  }
  if (sent && !sent()) return answer;
  auto scripted = std::move(answers_.front());
  answers_.pop_front();
  answer.http_status = scripted.status;
  answer.body = Secret::take(std::move(scripted.body));
  answer.content_type = "application/json";
  answer.complete = true;
  return answer;
}

std::string grant_json(const GrantText& text) {
  return R"({"access_token":")" + text.access + R"(","refresh_token":")" + text.refresh +
         R"(","token_type":"Bearer","expires_in":)" + std::to_string(text.expires_in) +
         R"(,"scope":")" + text.scope + "\"" + text.more + "}";
}

CommandTest::CommandTest() {
  env_["AUTHDB_STORE"] = store_path();
  env_["AUTHDB_KEY_FILE"] = dir_ / "key/seal.key";
  http_->clock = [this] { return now_; };
  // An ordinary provider: its access tokens are bearers, whatever they look like.
  write_file(dir_ / "providers.d/acme.json",
             R"({"id":"acme","client_id":"c","token_endpoint":"https://acme.example/token",)"
             R"("device_authorization_endpoint":"https://acme.example/device"})");
}

Ran CommandTest::run(std::vector<std::string> words, std::string_view input) {
  std::istringstream in{std::string(input)};
  std::ostringstream out;
  std::ostringstream err;
  Context context{in, out, err};
  context.env = [this](const std::string& name) -> std::optional<std::string> {
    const auto found = env_.find(name);
    return found == env_.end() ? std::nullopt : std::optional(found->second);
  };
  context.clock = [this] { return now_; };
  context.http = wire_ ? wire_ : http_;
  context.lock_wait = lock_wait_;
  context.providers_dir = dir_ / "providers.d";
  context.out_is_terminal = out_is_terminal_;
  context.err_is_terminal = err_is_terminal_;
  context.wait = [this](Milliseconds span) { now_ += span; };
  context.browse = browse_;
  context.ask = ask_;
  Ran ran;
  ran.status = dispatch(std::move(words), context);
  ran.out = out.str();
  ran.err = err.str();
  return ran;
}

Ran CommandTest::must(std::vector<std::string> words, std::string_view input) {
  auto ran = run(std::move(words), input);
  EXPECT_EQ(ran.status, 0) << testing::PrintToString(ran);
  return ran;
}

nlohmann::json CommandTest::must_json(std::vector<std::string> words, std::string_view input) {
  words.emplace_back("--json");
  const auto ran = must(std::move(words), input);
  auto json = nlohmann::json::parse(ran.out, nullptr, false);
  EXPECT_FALSE(json.is_discarded()) << testing::PrintToString(ran);
  return json;
}

Store CommandTest::reopen(OpenMode mode) const {
  StoreOptions options;
  options.path = store_path();
  options.key_file = dir_ / "key/seal.key";
  options.clock = [now = now_] { return now; };
  auto store = Store::open(std::move(options), mode);
  if (!store) throw std::runtime_error(store.error().message);
  return *std::move(store);
}

std::vector<Credential> CommandTest::stored(const std::string& provider) const {
  auto all = reopen().list({provider, {}, false});
  if (!all) throw std::runtime_error(all.error().message);
  return *std::move(all);
}

std::string CommandTest::stored_token(const Uid& uid) const {
  const auto held = reopen().unseal(uid);
  if (!held) throw std::runtime_error(held.error().message);
  return std::string(held->access_token.reveal());
}

}  // namespace authdb::cli
