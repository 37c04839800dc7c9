// Where a model's last linear layer is: option --head.
#pragma once

#include "core/options.h"

namespace retort::stages {

enum class HeadPlacement { whole, sharded };

/// Declares --head.
core::Option& declare_head(core::OptionTable& table, HeadPlacement* head);

}  // namespace retort::stages
