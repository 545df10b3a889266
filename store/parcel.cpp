#include "store/parcel.h"

#include <charconv>
#include <cstdint>
#include <cstring>
#include <string>

#include "store/words.h"

namespace authdb {
namespace {

constexpr std::string_view kFormat = "1";

// Fields are a 32-bit length and that many bytes.
class Packer {
 public:
  explicit Packer(std::size_t size) { bytes_.reserve(size); }  // so that no copy is left unwiped
  Packer& text(std::string_view field) {
    const auto size = static_cast<std::uint32_t>(field.size());
    const auto* head = reinterpret_cast<const char*>(&size);
    bytes_.insert(bytes_.end(), head, head + sizeof(size));
    bytes_.insert(bytes_.end(), field.begin(), field.end());
    return *this;
  }
  Packer& at(std::optional<Instant> time) {
    return text(time ? std::to_string(to_millis(*time)) : std::string());
  }
  Secret done() { return Secret(std::move(bytes_)); }

 private:
  std::vector<char> bytes_;
};

class Unpacker {
 public:
  explicit Unpacker(std::string_view bytes) : rest_(bytes) {}
  std::string_view text() {
    std::uint32_t size = 0;
    if (rest_.size() < sizeof(size)) return broken();
    std::memcpy(&size, rest_.data(), sizeof(size));
    if (rest_.size() - sizeof(size) < size) return broken();
    const auto field = rest_.substr(sizeof(size), size);
    rest_.remove_prefix(sizeof(size) + size);
    return field;
  }
  std::optional<Instant> at() {
    const auto field = text();
    std::int64_t ms = 0;
    if (field.empty()) return std::nullopt;
    std::from_chars(field.data(), field.data() + field.size(), ms);
    return at_millis(ms);
  }
  bool good() const { return good_; }
  bool more() const { return !rest_.empty(); }

 private:
  std::string_view broken() {
    good_ = false;
    rest_ = {};
    return {};
  }
  std::string_view rest_;
  bool good_ = true;
};

constexpr std::size_t kRoomForTheRest = 4096;

}  // namespace

Secret pack(const Identity& identity, const Grant& grant) {
  Packer out(grant.access_token.size() + grant.refresh_token.size() + identity.scope.size() +
             identity.label.size() + kRoomForTheRest);
  out.text(kFormat)
      .text(identity.provider)
      .text(identity.label)
      .text(word(identity.auth_type))
      .text(identity.source)
      .text(identity.foreign_id)
      .text(identity.account)
      .text(identity.client_id)
      .text(identity.scope)
      .text(identity.token_type)
      .text(identity.base_url)
      .text(identity.portal_base_url)
      .text(identity.inference_base_url);
  out.text(grant.access_token.reveal())
      .text(grant.refresh_token.reveal())
      .at(grant.obtained_at)
      .text(grant.obtained_derived ? "1" : "0")
      .at(grant.expires_at)
      .at(grant.session_ends_at)
      .text(word(grant.bearer_kind))
      .text(identity.ca_file)
      .text(grant.account)
      .text(grant.subject.access)
      .text(grant.subject.id)
      .text(grant.subject.stated);
  return out.done();
}

std::optional<Parcel> unpack(const Secret& bytes) {
  Unpacker in(bytes.reveal());
  if (in.text() != kFormat) return std::nullopt;
  Parcel parcel;
  Identity& identity = parcel.identity;
  identity.provider = in.text();
  identity.label = in.text();
  identity.auth_type = from_word<AuthType>(in.text()).value_or(AuthType::oauth);
  for (std::string* field :
       {&identity.source, &identity.foreign_id, &identity.account, &identity.client_id,
        &identity.scope, &identity.token_type, &identity.base_url, &identity.portal_base_url,
        &identity.inference_base_url}) {
    *field = in.text();
  }
  Grant& grant = parcel.grant;
  grant.access_token = Secret::copy_of(in.text());
  grant.refresh_token = Secret::copy_of(in.text());
  grant.obtained_at = in.at();
  grant.obtained_derived = in.text() == "1";
  grant.expires_at = in.at();
  grant.session_ends_at = in.at();
  grant.bearer_kind = from_word<BearerKind>(in.text()).value_or(BearerKind::access_token);
  // Packed by an older program: there are none.
  if (in.more()) identity.ca_file = in.text();
  if (in.more()) grant.account = in.text();
  if (in.more()) grant.subject.access = in.text();
  if (in.more()) {
    grant.subject.id = in.text();
    grant.subject.stated = in.text();
  } else {
    grant.subject = {};  // which place it was from is not known
  }
  if (!in.good()) return std::nullopt;
  return parcel;
}

}  // namespace authdb
