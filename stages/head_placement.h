// Where a model's last linear layer is: option --head.
#pragma once

#include "core/options.h"

namespace retort::stages {

enum class HeadPlacement { whole, chunked, sharded };

/// Declares --head, for training, or for those that compute no loss: without chunked.
core::Option& declare_training_head(core::OptionTable& table, HeadPlacement* head);
core::Option& declare_head(core::OptionTable& table, HeadPlacement* head);

}  // namespace retort::stages
