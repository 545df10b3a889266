// oauth/providers.json as a string: a JSON array of provider objects.
#pragma once

namespace authdb::oauth {

extern const char* const kBuiltinProviders;

}  // namespace authdb::oauth
