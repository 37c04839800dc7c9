// `retort docs --out DIR`: a page per command, from the option tables. Not shown in --help.
#pragma once

#include <memory>

#include "stages/stage.h"

namespace retort::launch {

std::unique_ptr<stages::Stage> make_docs();

}  // namespace retort::launch
