// HttpFront runs requests of a Connection through the HTTP library's parser and routes, and
// delivers what they answer.
#pragma once

#include <httplib.h>

#include <memory>

#include "tools/portal/answer.h"
#include "tools/portal/connection.h"
#include "tools/portal/ledger.h"

namespace authdb::portal {

// What a handler knows and decides beyond the library's request and response.
struct Exchange {
  Connection& connection;
  std::unique_ptr<Ledger::Flight> flight{};
  Delivery delivery{};

  // The exchange of this thread. The library has no room of its own to carry it in.
  static Exchange& current();
};

class HttpFront : public httplib::Server {
 public:
  // Serves the connection's requests until either side has had enough.
  void serve(Connection& connection);
};

void write(const Answer& answer, httplib::Response& response);

}  // namespace authdb::portal
