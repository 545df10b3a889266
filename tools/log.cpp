#include "tools/log.h"

#include <spdlog/logger.h>
#include <spdlog/sinks/ostream_sink.h>

#include <mutex>

namespace authdb::cli {
namespace {

spdlog::level::level_enum level_of(LogLevel level) {
  switch (level) {
    case LogLevel::debug:
      return spdlog::level::debug;
    case LogLevel::info:
      return spdlog::level::info;
    case LogLevel::warning:
      return spdlog::level::warn;
    case LogLevel::error:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}

// Not spdlog's registry: its default logger writes to stdout, where the results go.
struct LazyLogger {
  explicit LazyLogger(std::ostream& to) : stream(to) {}
  spdlog::logger& get() {
    std::call_once(once, [this] {
      logger = std::make_unique<spdlog::logger>(
          "authdb", std::make_shared<spdlog::sinks::ostream_sink_mt>(stream));
      logger->set_level(spdlog::level::debug);
      logger->set_pattern("%H:%M:%S.%e %P %l: %v");
    });
    return *logger;
  }
  std::ostream& stream;
  std::once_flag once;
  std::unique_ptr<spdlog::logger> logger;
};

}  // namespace

Logger stream_logger(std::ostream& stream) {
  auto lazy = std::make_shared<LazyLogger>(stream);
  return [lazy](LogLevel level, std::string_view text) {
    lazy->get().log(level_of(level), spdlog::string_view_t(text.data(), text.size()));
  };
}

}  // namespace authdb::cli
