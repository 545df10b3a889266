// How the server's answer is written, in which clothes, how much of it arrives, and what the
// promises say it means to whoever reads it.
#pragma once

#include <string>

#include "store/token_endpoint.h"
#include "tests/model/step.h"

namespace authdb::model {

// What is to be said.
struct Said {
  std::string access;
  std::string refresh;   // empty: none
  std::string id_token;  // empty: none
  std::string key;       // an agent key, instead of all that
  int life_s = 900;
};

// What arrives, and what of it must be understood (docs/promises.md, P4).
struct Written {
  Answer answer;
  bool has_life = true;      // it says how long the access token lives
  bool has_access = false;   // whole
  bool has_refresh = false;  // whole
  bool whole = false;        // the transfer is complete and the document valid
};

Written write_grant(const Said& said, const Step& step);
Written write_key(const Said& said);
Written write_error(int status, const std::string& code, const Step& step);
Written write_page(int status, const Step& step);
Written write_nonsense(const Step& step);

// A token that says whose it is; the signature proves nothing.
std::string id_token_for(const std::string& subject);

int life_of(const Step& step);  // seconds

}  // namespace authdb::model
