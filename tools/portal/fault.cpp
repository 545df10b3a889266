#include "tools/portal/fault.h"

#include <algorithm>
#include <array>

#include "tools/portal/json_fields.h"

namespace authdb::portal {
namespace {

using nlohmann::json;

constexpr std::array kEndpoints = {
    std::pair{Endpoint::kToken, "token"},         std::pair{Endpoint::kAgentKey, "agent-key"},
    std::pair{Endpoint::kInference, "inference"}, std::pair{Endpoint::kDevice, "device"},
    std::pair{Endpoint::kAuthorize, "authorize"}, std::pair{Endpoint::kRevoke, "revoke"},
    std::pair{Endpoint::kDiscovery, "discovery"},
};

constexpr std::array kWrappings = {
    std::pair{Wrapping::kGzip, "gzip"},         std::pair{Wrapping::kForm, "form"},
    std::pair{Wrapping::kBom, "bom"},           std::pair{Wrapping::kPrefix, "prefix"},
    std::pair{Wrapping::kTrailing, "trailing"}, std::pair{Wrapping::kData, "data"},
};

Wrapping wrapping_of(const std::string& name) {
  for (const auto& [wrapping, known] : kWrappings) {
    if (name == known) return wrapping;
  }
  throw BadRequest("field \"wrapping\": no wrapping is called \"" + name + "\"");
}

Endpoint endpoint_of(const std::string& name) {
  for (const auto& [endpoint, known] : kEndpoints) {
    if (name == known) return endpoint;
  }
  throw BadRequest("field \"endpoint\": no endpoint is called \"" + name + "\"");
}

When when_of(const std::string& field, const std::string& text) {
  if (text == "before") return When::kBefore;
  if (text == "after") return When::kAfter;
  throw BadRequest("field \"" + field + "\": before or after, not \"" + text + "\"");
}

std::chrono::milliseconds millis(const json& value) {
  return std::chrono::milliseconds(value.get<std::int64_t>());
}

const FieldTable<Fault> kFields = {
    {"endpoint", [](Fault& f, const json& v) { f.endpoint = endpoint_of(v.get<std::string>()); }},
    {"grant_type", [](Fault& f, const json& v) { f.grant_type = v.get<std::string>(); }},
    {"family", [](Fault& f, const json& v) { f.family = v.get<std::string>(); }},
    {"skip", [](Fault& f, const json& v) { f.skip = v.get<int>(); }},
    {"times", [](Fault& f, const json& v) { f.times = v.get<int>(); }},
    {"delay_before_ms", [](Fault& f, const json& v) { f.delay_before = millis(v); }},
    {"delay_after_ms", [](Fault& f, const json& v) { f.delay_after = millis(v); }},
    {"drop", [](Fault& f, const json& v) { f.drop = when_of("drop", v.get<std::string>()); }},
    {"status", [](Fault& f, const json& v) { f.status = v.get<int>(); }},
    {"body",
     [](Fault& f, const json& v) { f.body = v.is_string() ? v.get<std::string>() : v.dump(); }},
    {"content_type", [](Fault& f, const json& v) { f.content_type = v.get<std::string>(); }},
    {"retry_after",
     [](Fault& f, const json& v) {
       f.retry_after = v.is_string() ? v.get<std::string>() : v.dump();
     }},
    {"when", [](Fault& f, const json& v) { f.when = when_of("when", v.get<std::string>()); }},
    {"cut_after_bytes", [](Fault& f, const json& v) { f.cut_after = v.get<std::int64_t>(); }},
    {"merge", [](Fault& f, const json& v) { f.merge = v; }},
    {"malformed", [](Fault& f, const json& v) { f.malformed = v.get<bool>(); }},
    {"redirect", [](Fault& f, const json& v) { f.redirect = v.get<std::string>(); }},
    {"huge_bytes", [](Fault& f, const json& v) { f.huge_bytes = v.get<std::size_t>(); }},
    {"wrapping", [](Fault& f, const json& v) { f.wrapping = wrapping_of(v.get<std::string>()); }},
    {"endless", [](Fault& f, const json& v) { f.endless = v.get<bool>(); }},
    {"drip_ms", [](Fault& f, const json& v) { f.drip = millis(v); }},
    {"html", [](Fault& f, const json& v) { f.html = v.get<bool>(); }},
};

bool matches(const Fault& fault, Endpoint endpoint, const std::string& grant_type,
             const std::string& family) {
  return fault.endpoint == endpoint &&
         (fault.grant_type.empty() || fault.grant_type == grant_type) &&
         (fault.family.empty() || fault.family == family);
}

}  // namespace

const char* name_of(Endpoint endpoint) {
  const auto found = std::find_if(kEndpoints.begin(), kEndpoints.end(),
                                  [&](const auto& row) { return row.first == endpoint; });
  return found->second;
}

bool Fault::replaces_answer() const { return status || body || html || !redirect.empty(); }

Fault fault_from_json(const json& object) { return read_fields(object, kFields); }

void FaultPlan::add(Fault fault) {
  const std::lock_guard lock(mutex_);
  faults_.push_back(std::move(fault));
}

void FaultPlan::clear() {
  const std::lock_guard lock(mutex_);
  faults_.clear();
}

Fault FaultPlan::take(Endpoint endpoint, const std::string& grant_type, const std::string& family) {
  const std::lock_guard lock(mutex_);
  for (auto fault = faults_.begin(); fault != faults_.end(); ++fault) {
    if (!matches(*fault, endpoint, grant_type, family) || fault->skip-- > 0) continue;
    fault->skip = 0;
    const Fault taken = *fault;
    if (fault->times > 0 && --fault->times == 0) faults_.erase(fault);
    return taken;
  }
  return {};
}

}  // namespace authdb::portal
