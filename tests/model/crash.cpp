#include "tests/model/crash.h"

#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <vector>

#include "tests/model/disk.h"
#include "tests/model/wire.h"

namespace authdb::model {
namespace {

using nlohmann::json;

void say(int fd, const json& message) {
  const std::vector<std::uint8_t> bytes = json::to_cbor(message);
  [[maybe_unused]] const ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
}

// A null: the other side is gone.
json hear(int fd) {
  const ssize_t size = ::recv(fd, nullptr, 0, MSG_PEEK | MSG_TRUNC);
  if (size <= 0) return nullptr;
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(size));
  const ssize_t got = ::recv(fd, bytes.data(), bytes.size(), 0);
  if (got <= 0) return nullptr;
  bytes.resize(static_cast<std::size_t>(got));
  return json::from_cbor(bytes);
}

json packed(const Answer& answer) {
  const std::string_view body = answer.body.reveal();
  json out{{"status", answer.http_status},
           {"body", json::binary({body.begin(), body.end()})},
           {"type", answer.content_type},
           {"complete", answer.complete},
           {"failure", answer.failure}};
  if (answer.retry_after) out["retry_after"] = answer.retry_after->count();
  return out;
}

Answer unpacked(const json& message) {
  Answer answer;
  if (message.is_null()) return answer;
  answer.http_status = message.at("status");
  const auto& body = message.at("body").get_binary();
  answer.body = Secret({body.begin(), body.end()});
  answer.content_type = message.at("type");
  answer.complete = message.at("complete");
  answer.failure = message.at("failure");
  if (message.contains("retry_after")) answer.retry_after = Seconds(message["retry_after"]);
  return answer;
}

json packed(const Outcome& outcome) {
  return {{"ok", outcome.ok},
          {"code", outcome.code},
          {"message", outcome.message},
          {"token", outcome.token},
          {"uids", outcome.uids},
          {"flag", outcome.flag},
          {"warnings", outcome.warnings},
          {"refresh", outcome.refresh},
          {"returned_at", outcome.returned_at},
          {"generation", outcome.generation},
          {"hold", outcome.hold}};
}

Outcome outcome_of(const json& message) {
  Outcome out;
  out.ok = message.at("ok");
  out.code = message.at("code");
  out.message = message.at("message");
  out.token = message.at("token");
  out.uids = message.at("uids").get<std::vector<std::string>>();
  out.flag = message.at("flag");
  out.warnings = message.at("warnings");
  out.refresh = message.at("refresh");
  out.returned_at = message.at("returned_at");
  out.generation = message.at("generation");
  out.hold = message.at("hold");
  return out;
}

[[noreturn]] void child(World& world, const Step& step, const Prepared& prepared, int fd) {
  world.child_fd = fd;
  arm_crash(world.home(), step.at);
  const Outcome outcome = perform(world, world.desk(0), step, prepared);
  disarm();
  say(fd, {{"done", packed(outcome)}});
  ::_exit(0);
}

Outcome attend(World& world, Acting& doing, int fd) {
  Outcome out;
  out.crashed = true;
  for (;;) {
    const json message = hear(fd);
    if (message.is_null()) return out;
    if (message.contains("done")) return outcome_of(message["done"]);
    doing.started_at = world.now();
    doing.token_requests = message.at("token_requests");
    doing.mint_requests = message.at("mint_requests");
    Answer answer = serve(world, doing, message.at("mint"), message.at("credential"));
    forget_writes();
    say(fd, packed(answer));
  }
}

}  // namespace

Answer ask_parent(World& world, const Acting& doing, bool mint, const std::string& credential) {
  say(world.child_fd, {{"token_requests", doing.token_requests},
                       {"mint_requests", doing.mint_requests},
                       {"mint", mint},
                       {"credential", credential}});
  return unpacked(hear(world.child_fd));
}

Outcome do_and_die(World& world, const Step& step, const Prepared& prepared, Acting& doing) {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    throw std::runtime_error("no socket pair");
  }
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::close(ends[0]);
    child(world, step, prepared, ends[1]);
  }
  ::close(ends[1]);
  Outcome out = attend(world, doing, ends[0]);
  ::close(ends[0]);
  int status = 0;
  ::waitpid(pid, &status, 0);
  const bool as_planned =
      WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 99);
  if (!as_planned)
    world.verdict.fail("harness.child", "the child ended otherwise: " + std::to_string(status));
  return out;
}

}  // namespace authdb::model
