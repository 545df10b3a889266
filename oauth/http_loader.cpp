#include "oauth/http_loader.h"

#include <dlfcn.h>
#include <link.h>
#include <pthread.h>

#include <atomic>
#include <filesystem>
#include <mutex>
#include <vector>

#include "store/ownership.h"

namespace authdb::oauth {
namespace {

namespace fs = std::filesystem;

constexpr const char* kName = "authdb_http.so";

// Of the shared library that this code is in; empty if it is part of the program itself.
fs::path library_directory() {
  Dl_info info{};
  void* map = nullptr;
  const void* here = reinterpret_cast<const void*>(&library_directory);
  if (::dladdr1(here, &info, &map, RTLD_DL_LINKMAP) == 0 || map == nullptr) return {};
  const fs::path file = static_cast<const link_map*>(map)->l_name;
  return file.is_absolute() ? file.parent_path() : fs::path();
}

// As it is built (bin/ and lib/), as it is installed anywhere, and as it was configured to be.
std::vector<fs::path> places() {
  std::error_code error;
  const fs::path bin = fs::read_symlink("/proc/self/exe", error).parent_path();
  const fs::path library = library_directory();
  std::vector<fs::path> out;
  if (!library.empty()) out = {library / kName, library / "authdb" / kName};
  out.insert(out.end(),
             {bin / ".." / "lib" / kName, bin / kName, bin / ".." / "lib" / "authdb" / kName,
              fs::path(AUTHDB_MODULE_INSTALL_DIR) / kName});
  return out;
}

HttpModule load(const fs::path& file) {
  if (const auto safe = check_loadable(file); !safe) {
    return {nullptr, nullptr,
            file.string() + " is not loaded: " + safe.error().message + ". " + safe.error().hint};
  }
  // Never closed: libcurl and OpenSSL leave handlers behind that run at exit.
  void* handle = ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* reason = ::dlerror();
    return {nullptr, nullptr, reason == nullptr ? file.string() : reason};
  }
  HttpModule module{reinterpret_cast<AuthdbHttpPerform*>(::dlsym(handle, "authdb_http_perform")),
                    reinterpret_cast<AuthdbHttpRelease*>(::dlsym(handle, "authdb_http_release"))};
  if (module.perform != nullptr && module.release != nullptr) return module;
  return {nullptr, nullptr, file.string() + " is not the HTTP module of authdb"};
}

// The first that is there; empty: none, and `looked` says where.
fs::path find_module(std::string& looked) {
  for (const fs::path& place : places()) {
    fs::path file = place.lexically_normal();
    std::error_code error;
    // What may not be looked at is there: to load it will say why not.
    if (fs::exists(file, error) || error) return file;
    looked += (looked.empty() ? "" : ", ") + file.parent_path().string();
  }
  return {};
}

std::string not_installed(const std::string& looked) {
  return std::string(kName) + " is not installed. It is looked for in " + looked;
}

HttpModule find_and_load() {
  std::string looked;
  const fs::path file = find_module(looked);
  return file.empty() ? HttpModule{nullptr, nullptr, not_installed(looked)} : load(file);
}

// fork() waits while a thread loads the module: its child, which has the forking thread only, would
// find the loading begun and wait for its end for ever. Registered before there are threads; never
// undone.
struct Loading {
  Loading() {
    ::pthread_atfork([] { one().mutex.lock(); }, [] { one().mutex.unlock(); },
                     [] { one().mutex.unlock(); });
  }
  static Loading& one() {
    static auto* const instance = new Loading;
    return *instance;
  }

  std::mutex mutex;
  std::atomic<const HttpModule*> module{nullptr};
};
[[maybe_unused]] const Loading& g_loading = Loading::one();

}  // namespace

std::string missing_http_module() {
  std::string looked;
  const fs::path file = find_module(looked);
  if (file.empty()) return not_installed(looked);
  const auto safe = check_loadable(file);
  return safe ? "" : file.string() + " is not loaded: " + safe.error().message;
}

const HttpModule& http_module() {
  Loading& loading = Loading::one();
  if (const HttpModule* loaded = loading.module.load()) return *loaded;
  const std::lock_guard guard(loading.mutex);
  if (loading.module.load() == nullptr) loading.module = new HttpModule(find_and_load());
  return *loading.module.load();
}

}  // namespace authdb::oauth
