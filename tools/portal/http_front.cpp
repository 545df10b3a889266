#include "tools/portal/http_front.h"

namespace authdb::portal {
namespace {

thread_local Exchange* current_exchange = nullptr;

// `curl -X POST` sends no length for no body; the library would wait for the connection to end.
void settle_length(httplib::Request& request) {
  if (!request.has_header("Content-Length") && !request.has_header("Transfer-Encoding")) {
    request.set_header("Content-Length", "0");
  }
}

}  // namespace

Exchange& Exchange::current() { return *current_exchange; }

void HttpFront::serve(Connection& connection) {
  bool open = true;
  while (open && connection.wait_for_request()) {
    Exchange exchange{connection};
    current_exchange = &exchange;
    bool last_request = false;
    const bool answered = process_request(connection, false, last_request, settle_length);
    exchange.delivery.about_to_end = [&] { exchange.flight.reset(); };
    open = connection.deliver(exchange.delivery) && answered && !last_request;
  }
}

void write(const Answer& answer, httplib::Response& response) {
  response.status = answer.status;
  response.set_content(answer.body, answer.content_type);
  for (const auto& [name, value] : answer.headers) response.set_header(name, value);
}

}  // namespace authdb::portal
