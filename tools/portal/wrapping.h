// What a fault puts around an answer's JSON.
#pragma once

#include "tools/portal/answer.h"

namespace authdb::portal {

// The answer in that wrapping; one whose body is no JSON object cannot become a form and stays.
void wrap(Answer& answer, Wrapping wrapping);

}  // namespace authdb::portal
