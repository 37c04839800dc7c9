// Ranks compare notes before a stage starts.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "comm/communicator.h"
#include "core/options.h"

namespace retort::launch {

/// Command, program version and `name = value` lines of all options of the stage. Those with
/// OptionEffect::run count, too: ranks that checkpoint at different steps wait for each other for
/// ever. What may differ (--threads, --json, --log-level) is not in the stage's table.
std::string shared_options(std::string_view command, const core::OptionTable& table);

/// What differs between the texts of the ranks, as one line ("option 'alpha': rank 0 has 0.5,
/// rank 1 has 0.7"); empty if they are equal. Pure.
std::string first_difference(const std::vector<std::string>& texts);

/// Collective. UsageError on all ranks if command, options or program version differ.
void require_agreement(comm::Communicator& communicator, std::string_view command,
                       const core::OptionTable& table);

/// Collective. Workers for this rank when nobody said how many: usable cores / ranks of this host
/// that share them, at least 1.
int fair_threads(comm::Communicator& communicator);

}  // namespace retort::launch
