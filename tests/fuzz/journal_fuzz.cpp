// A journal's record and the parcel in it: from any bytes either the whole thing or nothing.
#include <vector>

#include "store/journal.h"
#include "store/journal_format.h"
#include "store/parcel.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace authdb;
  if (const auto state = journal_format::state_in({data, size})) {
    const auto bytes = journal_format::record_of(*state);
    fuzz::require(journal_format::state_in(bytes).has_value(),
                  "a record that is written is read again");
  }
  const Secret bytes = Secret::copy_of(fuzz::text_of(data, size));
  if (const auto parcel = unpack(bytes)) {
    const Secret again = pack(parcel->identity, parcel->grant);
    fuzz::require(unpack(again).has_value(), "a parcel that is packed is unpacked again");
  }
  // The checksum keeps mutations out of what lies behind it: wrap them as a right one would.
  CredentialState state;
  state.revision = 1;
  state.phase = Phase::answered;
  state.attempt.process.assign(fuzz::text_of(data, size).substr(0, 32));
  state.grant.assign(data, data + size / 2);
  state.answer.assign(data + size / 2, data + size);
  const auto back = journal_format::state_in(journal_format::record_of(state));
  fuzz::require(back && back->grant == state.grant && back->answer == state.answer,
                "the payloads come back as they were");
  return 0;
}
