#include "tools/portal/control_api.h"

#include "tools/portal/json_fields.h"

namespace authdb::portal {
namespace {

using nlohmann::json;

class NotFound : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct ClockChange {
  std::optional<std::int64_t> now_ms{};
  std::chrono::milliseconds advance{0};
  std::optional<bool> frozen{};
};

struct DeviceVerdict {
  std::string user_code{};
  std::string account{};
};

const FieldTable<GrantRequest> kGrantFields = {
    {"client_id", [](GrantRequest& g, const json& v) { g.client_id = v.get<std::string>(); }},
    {"scope", [](GrantRequest& g, const json& v) { g.scope = v.get<std::string>(); }},
    {"account", [](GrantRequest& g, const json& v) { g.account = v.get<std::string>(); }},
    {"access_ttl_s", [](GrantRequest& g, const json& v) { g.access_ttl = seconds_of(v); }},
};

const FieldTable<Adoption> kAdoptionFields = {
    {"refresh_token", [](Adoption& a, const json& v) { a.refresh_token = v.get<std::string>(); }},
    {"access_token", [](Adoption& a, const json& v) { a.access_token = v.get<std::string>(); }},
    {"agent_key", [](Adoption& a, const json& v) { a.agent_key = v.get<std::string>(); }},
    {"spent", [](Adoption& a, const json& v) { a.spent = v.get<std::vector<std::string>>(); }},
    {"access_expires_in", [](Adoption& a, const json& v) { a.access_expires_in = seconds_of(v); }},
    {"agent_key_expires_in",
     [](Adoption& a, const json& v) { a.agent_key_expires_in = seconds_of(v); }},
    {"scope", [](Adoption& a, const json& v) { a.scope = v.get<std::string>(); }},
};

const FieldTable<ClockChange> kClockFields = {
    {"now_ms", [](ClockChange& c, const json& v) { c.now_ms = v.get<std::int64_t>(); }},
    {"advance_s",
     [](ClockChange& c, const json& v) {
       c.advance = std::chrono::milliseconds(static_cast<std::int64_t>(v.get<double>() * 1000));
     }},
    {"frozen", [](ClockChange& c, const json& v) { c.frozen = v.get<bool>(); }},
};

const FieldTable<DeviceVerdict> kVerdictFields = {
    {"user_code", [](DeviceVerdict& d, const json& v) { d.user_code = v.get<std::string>(); }},
    {"account", [](DeviceVerdict& d, const json& v) { d.account = v.get<std::string>(); }},
};

const FieldTable<std::string> kFamilyField = {
    {"family", [](std::string& family, const json& v) { family = v.get<std::string>(); }},
};

json parse(const std::string& body) {
  if (body.empty()) return json::object();
  auto parsed = json::parse(body, nullptr, false);
  if (parsed.is_discarded()) throw BadRequest("the body is not JSON");
  return parsed;
}

json or_null(const std::string& text) { return text.empty() ? json() : json(text); }

json to_json(const Totals& t) {
  return {{"token_posts", t.token_posts},
          {"rotations", t.rotations},
          {"mints", t.mints},
          {"inference_ok", t.inference_ok},
          {"inference_rejected", t.inference_rejected},
          {"reuse_detected", t.reuse_detected},
          {"max_in_flight_per_token", t.max_in_flight_per_token}};
}

json to_json(const FamilyCounters& f) {
  return {{"account", or_null(f.account)}, {"generation", f.generation},
          {"rotations", f.rotations},      {"reuse_detected", f.reuse_detected},
          {"revoked", f.revoked},          {"max_in_flight", f.max_in_flight}};
}

json to_json(const TokenCounters& t) {
  return {{"posts", t.posts},
          {"max_in_flight", t.max_in_flight},
          {"family", or_null(t.family)},
          {"generation", t.generation},
          {"state", t.state}};
}

json to_json(const RequestRecord& r) {
  return {{"at", iso8601(r.at_ms)},
          {"endpoint", name_of(r.endpoint)},
          {"method", r.method},
          {"path", r.path},
          {"user_agent", or_null(r.user_agent)},
          {"grant_type", or_null(r.grant_type)},
          {"family", or_null(r.family)},
          {"refresh_token", or_null(r.refresh_token)},
          {"refresh_in", or_null(r.refresh_in)},
          {"bearer", or_null(r.bearer)},
          {"status", r.status == 0 ? json() : json(r.status)}};
}

template <typename T>
json to_json(const std::map<std::string, T>& rows) {
  auto all = json::object();
  for (const auto& [name, row] : rows) all[name] = to_json(row);
  return all;
}

}  // namespace

ControlApi::ControlApi(World& world, HttpFront& front) : world_(world) {
  post(front, "/_control/grants", &ControlApi::create_grant);
  post(front, "/_control/adopt", &ControlApi::adopt);
  get(front, "/_control/counters", &ControlApi::counters);
  post(front, "/_control/faults", &ControlApi::add_faults);
  front.Delete("/_control/faults", [this](const auto& request, auto& response) {
    respond(&ControlApi::clear_faults, request.body, response);
  });
  post(front, "/_control/release", &ControlApi::release);
  get(front, "/_control/clock", &ControlApi::show_clock);
  post(front, "/_control/clock", &ControlApi::set_clock);
  post(front, "/_control/device/approve", &ControlApi::approve_device);
  post(front, "/_control/device/deny", &ControlApi::deny_device);
  post(front, "/_control/revoke", &ControlApi::revoke);
  post(front, "/_control/reset", &ControlApi::reset);
  get(front, "/_control/requests", &ControlApi::requests);
}

void ControlApi::post(HttpFront& front, const char* path, Method method) {
  front.Post(path, [this, method](const auto& request, auto& response) {
    respond(method, request.body, response);
  });
}

void ControlApi::get(HttpFront& front, const char* path, Method method) {
  front.Get(path, [this, method](const auto&, auto& response) { respond(method, "", response); });
}

void ControlApi::respond(Method method, const std::string& body, httplib::Response& response) {
  try {
    write(json_answer(200, (this->*method)(parse(body))), response);
  } catch (const BadRequest& error) {
    write(json_answer(400, {{"error", error.what()}}), response);
  } catch (const NotFound& error) {
    write(json_answer(404, {{"error", error.what()}}), response);
  }
}

json ControlApi::create_grant(const json& body) {
  const Grant grant = world_.issuer.create(read_fields(body, kGrantFields));
  json answer = nous_answer(world_, grant);
  answer["family"] = grant.family;
  return answer;
}

json ControlApi::adopt(const json& body) {
  const auto adoption = read_fields(body, kAdoptionFields);
  if (adoption.refresh_token.empty()) throw BadRequest("field \"refresh_token\" is missing");
  return {{"family", world_.issuer.adopt(adoption)}};
}

json ControlApi::counters(const json&) {
  const Counters counted = world_.counters();
  return {{"totals", to_json(counted.totals)},
          {"families", to_json(counted.families)},
          {"tokens", to_json(counted.tokens)}};
}

// All or none: a typing error in the last fault must not leave the first ones armed.
json ControlApi::add_faults(const json& body) {
  std::vector<Fault> faults;
  for (const auto& one : body.is_array() ? body : json::array({body})) {
    faults.push_back(fault_from_json(one));
  }
  for (auto& fault : faults) world_.faults.add(std::move(fault));
  return {{"added", faults.size()}};
}

json ControlApi::clear_faults(const json&) {
  world_.faults.clear();
  return json::object();
}

json ControlApi::release(const json&) {
  world_.pauses.release();
  return json::object();
}

json ControlApi::show_clock(const json&) {
  return {{"now_ms", world_.clock.now_ms()}, {"frozen", world_.clock.frozen()}};
}

json ControlApi::set_clock(const json& body) {
  const auto change = read_fields(body, kClockFields);
  if (change.frozen) world_.clock.freeze(*change.frozen);
  if (change.now_ms) world_.clock.set(*change.now_ms);
  world_.clock.advance(change.advance);
  return show_clock({});
}

json ControlApi::approve_device(const json& body) {
  const auto verdict = read_fields(body, kVerdictFields);
  if (!world_.approvals.approve_device(verdict.user_code, verdict.account)) {
    throw NotFound("no device waits with user_code \"" + verdict.user_code + "\"");
  }
  return json::object();
}

json ControlApi::deny_device(const json& body) {
  const auto verdict = read_fields(body, kVerdictFields);
  if (!world_.approvals.deny_device(verdict.user_code)) {
    throw NotFound("no device waits with user_code \"" + verdict.user_code + "\"");
  }
  return json::object();
}

json ControlApi::revoke(const json& body) {
  const auto family = read_fields(body, kFamilyField);
  if (!world_.issuer.revoke(family)) throw NotFound("no family is called \"" + family + "\"");
  return json::object();
}

json ControlApi::reset(const json&) {
  world_.reset();
  return json::object();
}

json ControlApi::requests(const json&) {
  auto all = json::array();
  for (const auto& record : world_.ledger.requests()) all.push_back(to_json(record));
  return all;
}

}  // namespace authdb::portal
