#include "migrate/addresses.h"

#include <array>
#include <filesystem>
#include <utility>

namespace authdb::migrate {
namespace {

struct Address {
  const char* name;
  std::string Identity::*field;
};
constexpr Address kPortal{"portal_base_url", &Identity::portal_base_url};
constexpr std::array kForBearers{Address{"inference_base_url", &Identity::inference_base_url},
                                 Address{"base_url", &Identity::base_url}};

std::string text_of(const Error& error) {
  return error.message + (error.hint.empty() ? "" : ". " + error.hint);
}

class Checking {
 public:
  Checking(Document& document, const UsableAddress& usable)
      : document_(document), usable_(usable) {}

  // False: nothing is taken from the row.
  bool check(Row& row) {
    check_ca_file(row);
    if (row.identity.auth_type == AuthType::api_key) return true;
    if (const auto refused = why_not(row, kPortal)) {
      document_.bad_rows.push_back({row.where, kPortal.name, "is refused: " + *refused});
      return false;
    }
    for (const Address& address : kForBearers) {
      const auto refused = why_not(row, address);
      if (!refused) continue;
      (row.identity.*address.field).clear();
      document_.notes.push_back({row.where, address.name, "is left out: " + *refused});
    }
    return true;
  }

 private:
  // As Hermes does. One that is there and must not be believed is no reason to believe others.
  void check_ca_file(Row& row) {
    std::string& file = row.identity.ca_file;
    std::error_code error;
    if (file.empty() || std::filesystem::symlink_status(file, error).type() !=
                            std::filesystem::file_type::not_found) {
      return;
    }
    document_.notes.push_back(
        {row.where, "tls.ca_bundle",
         "is left out: " + file + " is not there. The usual authorities of this machine count"});
    file.clear();
  }

  // Puts the address as it may be used; nullopt: it may.
  std::optional<std::string> why_not(Row& row, const Address& address) {
    std::string& url = row.identity.*address.field;
    if (url.empty()) return std::nullopt;
    auto used = usable_(row.identity.provider, url);
    if (!used) return text_of(used.error());
    if (*used == url) return std::nullopt;
    document_.notes.push_back({row.where, address.name, "is taken as " + *used});
    url = std::move(*used);
    return std::nullopt;
  }

  Document& document_;
  const UsableAddress& usable_;
};

}  // namespace

void check_addresses(Document& document, const UsableAddress& usable) {
  Checking checking(document, usable);
  std::erase_if(document.rows, [&](Row& row) { return !checking.check(row); });
}

}  // namespace authdb::migrate
