// Which tool's file is this, and what does it say? One row per shape; adding a tool is one file and
// one row.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>
#include <string_view>

#include "migrate/formats/document.h"

namespace authdb::migrate {

struct Reader {
  std::string_view format;
  std::string_view shape;  // for people: what makes a file one of these
  bool (*recognises)(const nlohmann::json& root);
  // Takes the tree apart. Fills rows, states, unknown and bad_rows.
  void (*read)(nlohmann::json root, Document& document);
};

// In the order in which they are asked.
std::span<const Reader> readers();

// Reads one file, and the list of spent tokens that Hermes keeps beside it. Whatever keeps them
// from being read is in the document's `failure`.
Document read_document(const std::filesystem::path& path, std::string profile);

}  // namespace authdb::migrate
