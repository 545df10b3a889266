#include "tools/portal/answer.h"

#include "tools/portal/wrapping.h"

namespace authdb::portal {
namespace {

constexpr const char* kHtmlPage =
    "<!DOCTYPE html>\n<html><head><title>Bad gateway</title></head>\n"
    "<body><h1>Bad gateway</h1><p>The simulated proxy could not reach the "
    "portal.</p></body></html>\n";

int default_status(const Fault& fault) {
  if (!fault.redirect.empty()) return 302;
  return fault.html ? 502 : 200;
}

Answer replacement(const Fault& fault) {
  Answer answer;
  answer.status = fault.status.value_or(default_status(fault));
  answer.body = fault.body.value_or(fault.html ? kHtmlPage : "");
  if (fault.html) answer.content_type = "text/html; charset=utf-8";
  if (!fault.redirect.empty()) answer.headers.emplace_back("Location", fault.redirect);
  return answer;
}

void merge_into(Answer& answer, const nlohmann::json& patch) {
  auto body = nlohmann::json::parse(answer.body, nullptr, false);
  if (body.is_discarded()) return;
  body.merge_patch(patch);
  answer.body = body.dump();
}

void change(Answer& answer, const Fault& fault) {
  if (!fault.merge.empty()) merge_into(answer, fault.merge);
  if (fault.malformed && !answer.body.empty()) answer.body.pop_back();
  if (answer.body.size() < fault.huge_bytes) answer.body.resize(fault.huge_bytes, ' ');
  wrap(answer, fault.wrapping);
  if (!fault.content_type.empty()) answer.content_type = fault.content_type;
  if (!fault.retry_after.empty()) answer.headers.emplace_back("Retry-After", fault.retry_after);
}

}  // namespace

Answer json_answer(int status, const nlohmann::json& body) {
  Answer answer;
  answer.status = status;
  answer.body = body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return answer;
}

std::optional<Answer> answer_with(const Fault& fault, Pauses& pauses,
                                  const std::function<Answer()>& process) {
  if (!pauses.wait(fault.delay_before) || fault.drop == When::kBefore) return {};
  const bool replaces = fault.replaces_answer();
  Answer answer = replaces && fault.when == When::kBefore ? Answer{} : process();
  if (replaces) answer = replacement(fault);
  change(answer, fault);
  if (!pauses.wait(fault.delay_after) || fault.drop == When::kAfter) return {};
  return answer;
}

}  // namespace authdb::portal
