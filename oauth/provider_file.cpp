#include "oauth/provider_file.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "oauth/provider_fields.h"
#include "oauth/url.h"
#include "store/env_source.h"

namespace authdb::oauth {
namespace {

using nlohmann::json;

constexpr std::int64_t kLongestSeconds = 100LL * 365 * 86400;

// Thrown while a field is read, caught by read_provider, which knows the field's name.
struct Wrong {
  std::string reason;
};

const std::string& text(const json& value) {
  if (!value.is_string()) throw Wrong{"must be a string"};
  const auto& out = value.get_ref<const std::string&>();
  for (const char c : out) {
    if (static_cast<unsigned char>(c) < ' ' || c == 0x7f) throw Wrong{"has control characters"};
  }
  return out;
}

std::int64_t integer(const json& value, std::int64_t least, std::int64_t most) {
  const bool fits = value.is_number_integer() &&
                    !(value.is_number_unsigned() &&
                      value.get<std::uint64_t>() > static_cast<std::uint64_t>(most)) &&
                    value.get<std::int64_t>() >= least && value.get<std::int64_t>() <= most;
  if (!fits) {
    throw Wrong{"must be a whole number from " + std::to_string(least) + " to " +
                std::to_string(most)};
  }
  return value.get<std::int64_t>();
}

Seconds seconds(const json& value) { return Seconds{integer(value, 0, kLongestSeconds)}; }

const json& object(const json& value) {
  if (!value.is_object()) throw Wrong{"must be an object"};
  return value;
}

const json& array(const json& value) {
  if (!value.is_array()) throw Wrong{"must be an array"};
  return value;
}

std::map<std::string, std::string> text_map(const json& value) {
  std::map<std::string, std::string> out;
  for (const auto& [key, item] : object(value).items()) {
    if (key.empty() || key.find_first_of(": \t\r\n") != std::string::npos) {
      throw Wrong{"has the unusable name \"" + key + "\""};
    }
    out[key] = text(item);
  }
  return out;
}

std::string host(const std::string& name, const char* otherwise) {
  const auto url = parse_url("https://" + name);
  if (!url || !url->port.empty() || !url->path.empty()) throw Wrong{otherwise};
  return url->host;
}

std::vector<std::string> hosts(const json& value) {
  constexpr const char* kMust = "must be host names, or *.suffix";
  std::vector<std::string> out;
  for (const json& item : array(value)) {
    const std::string& name = text(item);
    out.push_back(name.starts_with("*.") ? "*." + host(name.substr(2), kMust) : host(name, kMust));
  }
  return out;
}

std::map<std::string, std::string> moved_hosts(const json& value) {
  std::map<std::string, std::string> out;
  for (const auto& [from, to] : text_map(value)) {
    out[host(from, "must name hosts")] = host(to, "must lead to hosts");
  }
  return out;
}

std::vector<std::string> variables(const json& value) {
  std::vector<std::string> out;
  for (const json& item : array(value)) {
    out.push_back(text(item));
    if (!may_hold_key(out.back())) {
      throw Wrong{"names \"" + out.back() + "\", which is no variable that may hold a key"};
    }
  }
  return out;
}

FailureClass failure_class(const json& value) {
  const std::string& word = text(value);
  if (word == "terminal") return FailureClass::terminal;
  if (word == "login") return FailureClass::login;
  if (word == "transient") return FailureClass::transient;
  if (word == "rate_limited") return FailureClass::rate_limited;
  if (word == "entitlement") return FailureClass::entitlement;
  throw Wrong{"\"class\" must be terminal, login, transient, rate_limited or entitlement"};
}

ErrorRule error_rule(const json& value) {
  ErrorRule rule;
  bool has_class = false;
  for (const auto& [key, item] : object(value).items()) {
    if (key == "status") {
      rule.status = static_cast<int>(integer(item, 100, 599));
    } else if (key == "code") {
      rule.code = text(item);
    } else if (key == "match") {
      rule.match = text(item);
    } else if (key == "class") {
      rule.failure = failure_class(item);
      has_class = true;
    } else {
      throw Wrong{"has the unknown field \"" + key + "\""};
    }
  }
  if (!has_class) throw Wrong{"needs \"class\" in each rule"};
  return rule;
}

AgentKeyPolicy agent_key(const json& value) {
  AgentKeyPolicy policy;
  for (const auto& [key, item] : object(value).items()) {
    if (key == "endpoint") {
      policy.endpoint = text(item);
    } else if (key == "min_ttl_s") {
      policy.min_ttl = seconds(item);
    } else {
      throw Wrong{"has the unknown field \"" + key + "\""};
    }
  }
  if (policy.endpoint.empty()) throw Wrong{"needs \"endpoint\""};
  return policy;
}

bool read_text(const std::string& key, const json& value, Provider& provider) {
  const auto* field = std::find_if(kTextFields.begin(), kTextFields.end(),
                                   [&](const TextField& known) { return known.name == key; });
  if (field == kTextFields.end()) return false;
  provider.*field->member = text(value);
  return true;
}

bool read_value(const std::string& key, const json& value, Provider& provider) {
  if (key == "device_pkce") {
    if (!value.is_boolean()) throw Wrong{"must be true or false"};
    provider.device_pkce = value.get<bool>();
  } else if (key == "skew_s") {
    provider.skew = seconds(value);
  } else if (key == "lead_s") {
    provider.lead = seconds(value);
  } else if (key == "floor_s") {
    provider.floor = Seconds{integer(value, 1, kLongestSeconds)};
  } else if (key == "reuse_grace_s") {
    provider.reuse_grace = seconds(value);
  } else if (key == "session_s") {
    provider.session = seconds(value);
  } else {
    return false;
  }
  return true;
}

bool read_structure(const std::string& key, const json& value, Provider& provider) {
  if (key == "headers") {
    provider.headers = text_map(value);
  } else if (key == "authorization_params") {
    provider.authorization_params = text_map(value);
  } else if (key == "token_body_of") {
    provider.token_body_of = text_map(value);
  } else if (key == "moved_hosts") {
    provider.moved_hosts = moved_hosts(value);
  } else if (key == "env") {
    provider.env = text_map(value);
  } else if (key == "api_key_env") {
    provider.api_key_env = variables(value);
  } else if (key == "allowed_hosts") {
    provider.allowed_hosts = hosts(value);
  } else if (key == "agent_key") {
    provider.agent_key = agent_key(value);
  } else if (key == "errors") {
    provider.errors.clear();
    for (const json& rule : array(value)) provider.errors.push_back(error_rule(rule));
  } else {
    return false;
  }
  return true;
}

bool valid_id(const std::string& id) {
  const auto word = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
  };
  return !id.empty() && std::all_of(id.begin(), id.end(), word);
}

std::string endpoint_problem(const std::string& value, const Provider& provider) {
  if (value.empty()) return {};
  if (value.starts_with("/")) {
    return provider.portal_base_url.empty() ? "is a path, and there is no portal_base_url" : "";
  }
  const auto url = parse_url(value);
  if (!url) return "must be an https URL";
  return is_secure(*url) ? "" : "must be https; http is for this machine itself only";
}

// What can be judged only when all of the fields are known.
std::vector<FieldProblem> check(const Provider& provider) {
  std::vector<FieldProblem> problems;
  const auto wrong = [&](std::string field, std::string reason) {
    problems.push_back({std::move(field), std::move(reason)});
  };
  if (!valid_id(provider.id)) wrong("id", "must be lower-case letters, digits, '-', '_' or '.'");
  const bool has_client = !provider.client_id.empty() || provider.env.contains("client_id");
  const bool keys_alone = !provider.api_key_env.empty() && !has_client && !has_logins(provider);
  if (!has_client && !keys_alone) wrong("client_id", "is required");
  if (!has_logins(provider) && !keys_alone) wrong("token_endpoint", "is required, or issuer");
  const auto& auth = provider.client_auth;
  if (auth != "none" && auth != "basic" && auth != "post") {
    wrong("client_auth", "must be none, basic or post");
  } else if (auth != "none" && provider.client_secret_env.empty()) {
    wrong("client_secret_env", "is required with client_auth " + auth);
  }
  const auto check_body = [&](const char* field, const std::string& body) {
    if (body != "form" && body != "json") wrong(field, "must be form or json");
  };
  check_body("token_body", provider.token_body);
  check_body("code_body", provider.code_body);
  check_body("revocation_body", provider.revocation_body);
  for (const auto& of : provider.token_body_of) check_body("token_body_of", of.second);
  if (!provider.login.empty() &&
      std::find(kLogins.begin(), kLogins.end(), provider.login) == kLogins.end()) {
    wrong("login", "must be device, codex_device, minimax_user_code, loopback or pasted_code");
  }
  if (provider.lead < provider.skew) wrong("lead_s", "must not be less than skew_s");
  const auto& where = provider.refresh_token_in;
  if (where != "body" && !(where.starts_with("header:") && where.size() > 7)) {
    wrong("refresh_token_in", "must be body or header:NAME");
  }
  for (const TextField& field : kTextFields) {
    if (!field.is_endpoint) continue;
    const std::string reason = endpoint_problem(provider.*field.member, provider);
    if (!reason.empty()) wrong(std::string(field.name), reason);
  }
  if (provider.issuer.find('?') != std::string::npos) wrong("issuer", "must have no query");
  if (provider.agent_key) {
    const std::string reason = endpoint_problem(provider.agent_key->endpoint, provider);
    if (!reason.empty()) wrong("agent_key", "\"endpoint\" " + reason);
  }
  for (const auto& entry : provider.env) {
    const auto known = [&](const TextField& candidate) { return candidate.name == entry.first; };
    if (std::none_of(kTextFields.begin(), kTextFields.end(), known)) {
      wrong("env", "names \"" + entry.first + "\", which is no field of text");
    }
  }
  return problems;
}

}  // namespace

std::vector<FieldProblem> read_provider(const json& value, const std::string& origin,
                                        Provider& provider) {
  if (!value.is_object()) return {{"", "must hold one JSON object"}};
  std::vector<FieldProblem> problems;
  for (const auto& [key, item] : value.items()) {
    try {
      if (read_text(key, item, provider) || read_value(key, item, provider) ||
          read_structure(key, item, provider)) {
        provider.origin[key] = origin;
      } else {
        problems.push_back({key, "is not a known field"});
      }
    } catch (const Wrong& wrong) {
      problems.push_back({key, wrong.reason});
    }
  }
  // Wide enough that a copy without refresh tokens is renewed before its reader wants to.
  if (!provider.origin.contains("lead_s")) provider.lead = 2 * provider.skew + Seconds{60};
  if (problems.empty()) problems = check(provider);
  return problems;
}

}  // namespace authdb::oauth
