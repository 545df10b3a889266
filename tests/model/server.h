// The token server: strict single use, reuse ends the family. It knows what it issued and nothing
// of the store. Tokens are numbered; their text says which they are, so that a failure can be read.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace authdb::model {

// The providers of the model, by place: what differs between them is what the protocol must obey.
enum ProviderIndex : int {
  kAcme = 0,      // id tokens; a definite no also with the status 200
  kGracious = 1,  // a spent token may come again for a while
  kMintery = 2,   // agent keys
};
inline constexpr int kProviders = 3;
std::string_view provider_id(int provider);

struct RefreshToken {
  std::string text;
  int family = -1;
  bool spent = false;
  int successor = -1;
  std::int64_t spent_at = 0;
};

struct BearerToken {
  std::string text;
  int family = -1;
  bool is_key = false;
  std::int64_t expires_at = 0;  // by the client's clock as the request began
};

struct Family {
  int provider = 0;
  int account = 0;
  bool alive = true;
  std::string ended_by;
  int current = -1;
};

struct Issued {
  bool ok = false;
  std::string error;  // an OAuth code
  int refresh = -1;   // -1: none in the answer
  int access = -1;
  int life_s = 0;
};

class Server {
 public:
  Issued open_family(int provider, int account, std::int64_t now, int life_s);
  // What the server does with a refresh request. `rotate`: false leaves the token as it is.
  Issued refresh(std::string_view token, std::int64_t now, int life_s, bool rotate);
  // An agent key for an access token.
  Issued mint(std::string_view access, std::int64_t now, int life_s);
  void end_family(int family, const std::string& why);

  int refresh_named(std::string_view text) const;  // -1: never issued
  int bearer_named(std::string_view text) const;
  const RefreshToken& refresh_token(int id) const {
    return refresh_.at(static_cast<std::size_t>(id));
  }
  const BearerToken& bearer(int id) const { return bearers_.at(static_cast<std::size_t>(id)); }
  const Family& family(int id) const { return families_.at(static_cast<std::size_t>(id)); }
  const Family& family_of_token(int id) const { return family(refresh_token(id).family); }

 private:
  int add_refresh(int family);
  int add_bearer(int family, bool is_key, std::int64_t expires_at);

  std::vector<RefreshToken> refresh_;
  std::vector<BearerToken> bearers_;
  std::vector<Family> families_;
  std::map<std::string, int, std::less<>> refresh_names_;
  std::map<std::string, int, std::less<>> bearer_names_;
};

}  // namespace authdb::model
