// `retort doctor`: is this machine fit?
#pragma once

#include <memory>

#include "stages/stage.h"

namespace retort::launch {

std::unique_ptr<stages::Stage> make_doctor();

}  // namespace retort::launch
