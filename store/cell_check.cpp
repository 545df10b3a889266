#include "store/cell_check.h"

namespace authdb {
namespace {

constexpr int kBatch = 1024;

bool is_of_credential(SealedColumn column) {
  return column != SealedColumn::state_extra && column != SealedColumn::receipt_unknown;
}

DamagedCell describe(View& view, const SealedCell& cell) {
  DamagedCell damaged;
  std::string owner = cell.owner;
  if (is_of_credential(cell.column)) {
    damaged.uid = cell.owner;
    if (const auto stored = view.load(cell.owner)) {
      damaged.removed = stored->row.removed_at.has_value();
      owner = name_of(stored->row);
    }
  }
  damaged.what = "the sealed cell " + cell.place + " of " + owner;
  return damaged;
}

bool opens(const SealedCell& cell, const Sealer& sealer, std::string_view store_id) {
  const auto key = key_of(cell.cell);
  if (key && !sealer.holds(*key)) return true;  // as far as can be known
  return sealer.open(cell.cell, {store_id, cell.owner, cell.place, cell.generation}).has_value();
}

}  // namespace

std::vector<DamagedCell> cells_that_do_not_open(View& view, const Sealer& sealer,
                                                std::string_view store_id, std::size_t most) {
  constexpr KeyId kNoKey{};  // so that the cells of all keys come
  std::vector<DamagedCell> damaged;
  for (const SealedColumn column : kSealedColumns) {
    std::int64_t after = 0;
    for (;;) {
      const auto cells = view.cells_of_other_keys(column, kNoKey, after, kBatch);
      if (cells.empty()) break;
      for (const SealedCell& cell : cells) {
        after = cell.row;
        if (opens(cell, sealer, store_id)) continue;
        damaged.push_back(describe(view, cell));
        if (damaged.size() >= most) return damaged;
      }
    }
  }
  return damaged;
}

bool can_open_cells(Engine& engine, View& view) {
  return Engine::guarded([&] {
           engine.follow_keys(view);
           (void)engine.keys();
         })
      .has_value();
}

std::vector<DamagedCell> cells_that_do_not_open(Engine& engine, std::size_t most) {
  const auto view = engine.backend->view();
  if (!can_open_cells(engine, *view)) return {};
  return cells_that_do_not_open(*view, engine.keys(), engine.files.store_id, most);
}

}  // namespace authdb
