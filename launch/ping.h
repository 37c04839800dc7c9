// `retort ping`: ranks find each other and say how long a round takes. `retort doctor` starts it on
// two ranks. Not shown in --help.
#pragma once

#include <memory>

#include "stages/stage.h"

namespace retort::launch {

std::unique_ptr<stages::Stage> make_ping();

}  // namespace retort::launch
