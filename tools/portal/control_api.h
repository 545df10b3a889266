// The portal's remote control: JSON under /_control/, for scripts and other processes.
//
// An unknown field, a wrong type or broken JSON is a 400 whose "error" names it; an unknown
// user code or family is a 404. Faults do not touch these routes, and no token is shown by them
// except in the answer to whoever creates a grant.
#pragma once

#include "tools/portal/http_front.h"
#include "tools/portal/world.h"

namespace authdb::portal {

class ControlApi {
 public:
  // Adds the routes to `front`. The world and this object must outlive it.
  ControlApi(World& world, HttpFront& front);

 private:
  using Json = nlohmann::json;
  using Method = Json (ControlApi::*)(const Json& body);

  void post(HttpFront& front, const char* path, Method method);
  void get(HttpFront& front, const char* path, Method method);
  void respond(Method method, const std::string& body, httplib::Response& response);

  Json create_grant(const Json& body);
  Json adopt(const Json& body);
  Json counters(const Json& body);
  Json add_faults(const Json& body);
  Json clear_faults(const Json& body);
  Json release(const Json& body);
  Json show_clock(const Json& body);
  Json set_clock(const Json& body);
  Json approve_device(const Json& body);
  Json deny_device(const Json& body);
  Json revoke(const Json& body);
  Json reset(const Json& body);
  Json requests(const Json& body);

  World& world_;
};

}  // namespace authdb::portal
