#include "tests/disk/power_model.h"

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <iterator>

namespace authdb::test {
namespace {

namespace fs = std::filesystem;

std::string bytes_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::string sector_of(const std::string& bytes, std::size_t sector) {
  return sector * kSector < bytes.size() ? bytes.substr(sector * kSector, kSector) : std::string();
}

// The durable content with those sectors of the cached one that landed.
std::string landed_bytes(const PowerModel::File& file, const std::string& path,
                         const PowerModel::Landed& landed) {
  std::string bytes = file.durable;
  const auto unsynced = file.unsynced_sectors();
  std::size_t count = 0;
  for (const std::size_t sector : unsynced) {
    if (!landed(path, sector)) continue;
    ++count;
    const std::string fresh = sector_of(file.cached, sector);
    bytes.resize(std::max(bytes.size(), sector * kSector + fresh.size()), '\0');
    std::copy(fresh.begin(), fresh.end(), bytes.begin() + static_cast<off_t>(sector * kSector));
  }
  if (count == unsynced.size() && count > 0) bytes = file.cached;  // with a truncation, if any
  return bytes;
}

}  // namespace

std::vector<std::size_t> PowerModel::File::unsynced_sectors() const {
  std::vector<std::size_t> out;
  const std::size_t sectors = (std::max(durable.size(), cached.size()) + kSector - 1) / kSector;
  for (std::size_t sector = 0; sector < sectors; ++sector) {
    if (sector_of(durable, sector) != sector_of(cached, sector)) out.push_back(sector);
  }
  return out;
}

std::map<std::string, std::vector<std::size_t>> PowerModel::Image::unsynced() const {
  std::map<std::string, std::vector<std::size_t>> out;
  for (const auto& [directory, entries] : names) {
    for (const auto& [name, id] : entries) {
      if (id == 0) continue;
      auto sectors = files.at(id).unsynced_sectors();
      if (!sectors.empty()) out[(directory + "/" + name).substr(root.size())] = std::move(sectors);
    }
  }
  return out;
}

void PowerModel::Image::write_to(const fs::path& target, const Landed& landed) const {
  const std::function<void(const std::string&)> write_directory = [&](const std::string& from) {
    const std::string below = from.substr(root.size());
    fs::create_directories(target.string() + below);
    fs::permissions(target.string() + below, fs::perms::owner_all);
    const auto entries = names.find(from);
    if (entries == names.end()) return;
    for (const auto& [name, id] : entries->second) {
      if (id == 0) {
        write_directory(from + "/" + name);
        continue;
      }
      const std::string file = below + "/" + name;
      std::ofstream(target.string() + file, std::ios::binary)
          << landed_bytes(files.at(id), file, landed);
      fs::permissions(target.string() + file, fs::perms::owner_read | fs::perms::owner_write);
    }
  };
  write_directory(root);
}

PowerModel::PowerModel(fs::path root) {
  image_.root = root.string();
  const std::function<void(const fs::path&)> take = [&](const fs::path& directory) {
    for (const auto& entry : fs::directory_iterator(directory)) {
      if (entry.is_directory()) {
        take(entry.path());
        continue;
      }
      File& file = image_.files[id_at(entry.path().string())];
      file.durable = bytes_of(entry.path());
      file.cached = file.durable;
    }
    learn(directory.string());
  };
  take(root);
}

std::uint64_t& PowerModel::id_at(const std::string& path) {
  struct stat st {};
  ::stat(path.c_str(), &st);
  std::uint64_t& id = ids_[st.st_ino];
  if (id == 0) id = next_id_++;
  return id;
}

// The names in a directory, as they are now, are durable.
void PowerModel::learn(const std::string& directory) {
  auto& entries = image_.names[directory];
  entries.clear();
  for (const auto& entry : fs::directory_iterator(directory)) {
    const std::uint64_t id = entry.is_directory() ? 0 : id_at(entry.path().string());
    entries[entry.path().filename().string()] = id;
    if (id != 0) image_.files[id];
  }
}

void PowerModel::sync(const std::string& path) {
  if (fs::is_directory(path)) {
    learn(path);
  } else if (fs::exists(path)) {
    File& file = image_.files[id_at(path)];
    file.durable = file.cached;
  }
}

int PowerModel::before(const Call& call) {
  if (call.op == Op::open) return 0;
  ++calls_;
  if (dies_at != 0 && calls_ >= dies_at) return EIO;
  if (at_each_call) at_each_call(call);
  return 0;
}

int PowerModel::after(const Call& call) {
  switch (call.op) {
    case Op::create:
      id_at(call.path) = next_id_++;  // whatever had this inode number before
      image_.files[id_at(call.path)];
      break;
    case Op::write: {
      std::string& bytes = image_.files[id_at(call.path)].cached;
      const auto at = static_cast<std::size_t>(call.offset);
      bytes.resize(std::max(bytes.size(), at + call.bytes.size()), '\0');
      std::copy(call.bytes.begin(), call.bytes.end(), bytes.begin() + call.offset);
      break;
    }
    case Op::truncate:
      image_.files[id_at(call.path)].cached.resize(static_cast<std::size_t>(call.size), '\0');
      break;
    case Op::sync:
      sync(call.path);
      break;
    default:  // names: durable when their directory is synced
      break;
  }
  return 0;
}

}  // namespace authdb::test
