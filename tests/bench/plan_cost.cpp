// What planning a migration costs for each row: of a file, and of one that is many times as long.
//
//   plan_cost ROWS TIMES
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "migrate/migrate.h"
#include "tests/bench/measure.h"

namespace authdb::bench {
namespace {

using nlohmann::json;

json row(std::size_t i) {
  const std::string n = std::to_string(i);
  return {{"id", "id" + n},
          {"label", "account " + n},
          {"auth_type", "oauth"},
          {"source", "manual:device_code"},
          {"access_token", "at_FAKE_" + n},
          {"refresh_token", "rt_FAKE_" + n}};
}

// Microseconds for each row, the best of three.
double cost(const Scratch& scratch, std::size_t rows) {
  auto pool = json::array();
  for (std::size_t i = 0; i < rows; ++i) pool.push_back(row(i));
  const json tree{{"version", 1}, {"credential_pool", {{"nous", std::move(pool)}}}};
  std::ofstream(scratch / "auth.json") << tree;
  migrate::MigrateOptions options;
  options.paths = {scratch / "auth.json"};
  const auto documents = migrate::read_sources(options);
  double best = 0;
  for (int i = 0; i < 3; ++i) {
    const double took = milliseconds([&] {
      const auto plan = migrate::plan(*documents, nullptr, options);
      if (!plan || plan->credentials != static_cast<std::int64_t>(rows)) std::abort();
    });
    best = i == 0 ? took : std::min(best, took);
  }
  return 1000 * best / static_cast<double>(rows);
}

}  // namespace
}  // namespace authdb::bench

int main(int argc, char** argv) {
  using namespace authdb::bench;
  if (argc != 3) return std::fprintf(stderr, "usage: plan_cost ROWS TIMES\n"), 2;
  const std::size_t rows = std::strtoull(argv[1], nullptr, 10);
  const std::size_t times = std::strtoull(argv[2], nullptr, 10);
  if (rows == 0 || times == 0) return std::fprintf(stderr, "both are positive\n"), 2;
  const Scratch scratch;
  const double few = cost(scratch, rows);
  const double many = cost(scratch, rows * times);
  std::printf("plan a migration of %zu and of %zu rows\n", rows, rows * times);
  std::printf("  %.1f and %.1f us for each row: %.1f times (target: at most 4; quadratic is %zu)\n",
              few, many, many / few, times);
  return 0;
}
