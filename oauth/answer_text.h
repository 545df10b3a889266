// The text of an answer without what servers and proxies wrap it in although nobody asked: gzip or
// deflate, UTF-16, a byte order mark, a prefix against hijacking. Told by the bytes alone: recovery
// has kept them and nothing else, and headers that say "gzip" of plain text are as common as the
// opposite. Pure, thread-safe.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "store/secret.h"
#include "store/token_endpoint.h"

namespace authdb::oauth {

struct AnswerText {
  Secret text;
  bool whole = false;       // nothing of it is missing at its end
  bool compressed = false;  // it was, and what it was compressed in has an end of its own
};

// `complete`: the transfer said that these are all bytes. What is compressed and cut gives what can
// be unpacked of it. More than 1 MiB of text, as no answer has, gives nothing.
AnswerText unwrap_text(std::string_view bytes, bool complete);

// What the first bytes look like, for a person who wants to know what came instead of an answer:
// "nothing", "HTML or XML", "JSON", "gzip", "text" or "binary data".
std::string_view looks_like(std::string_view bytes);

// True if it is a page, and nothing that a program was meant to read.
bool is_markup(std::string_view bytes);

// What a page says that came instead of an error, scrubbed of `known` and cut; of what is no text
// only what it looks like.
std::string page_text(const Answer& answer, const std::vector<const Secret*>& known);

}  // namespace authdb::oauth
