// Looks for secrets where none may be: as they are, and in every form that software gives a text on
// its way into a file or a message.
//
// Thread safety: none while secrets are added; looking is const.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace authdb::prove {

class SecretSearch {
 public:
  // `name` is what is said where it is found: the secret itself is not. At least 8 bytes, else it
  // is left out, because it would be found by chance. A long one is looked for by its beginning and
  // by its end, for what stores bytes may have parted them.
  void add(std::string_view secret, const std::string& name);
  std::size_t size() const { return known_.size(); }

  // `name, as base64`, once for each that is there.
  std::set<std::string> found_in(std::string_view bytes) const;
  // The same in the content and the name of each file below, with its path. A file for which `skip`
  // says so is left out.
  std::vector<std::string> found_below(
      const std::filesystem::path& directory,
      const std::function<bool(const std::filesystem::path&)>& skip) const;

 private:
  struct Needle {
    std::string text;
    std::string what;
  };
  void look_for(std::string text, const std::string& what);

  std::set<std::string> known_;
  std::unordered_multimap<std::uint64_t, Needle> needles_;  // by their first eight bytes
  std::vector<bool> begins_ = std::vector<bool>(1U << 16);  // by their first two
};

}  // namespace authdb::prove
