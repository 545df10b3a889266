// -v: the store's log on a stream, through spdlog, which is made at the first message.
#pragma once

#include <ostream>

#include "store/store.h"

namespace authdb::cli {

// `stream` must outlive the logger.
Logger stream_logger(std::ostream& stream);

}  // namespace authdb::cli
