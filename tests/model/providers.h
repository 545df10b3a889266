// The providers of the model, as a user would describe them in providers.d.
#pragma once

#include "oauth/provider.h"

namespace authdb::model {

// With the model's providers, and without them: their files are gone.
const oauth::ProviderRegistry& registry(bool gone);

}  // namespace authdb::model
