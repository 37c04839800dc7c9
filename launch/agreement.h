// Ranks compare notes before a stage starts.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "comm/communicator.h"
#include "core/options.h"

namespace retort::launch {

/// Command, version and build of the program, and `name = value` lines of all options of the stage.
/// Those with OptionEffect::run count, too: ranks that checkpoint at different steps wait for each
/// other for ever. What may differ (--threads, --json, --log-level) is not in the stage's table.
std::string shared_options(std::string_view command, const core::OptionTable& table);

/// What differs between the texts of the ranks, as one line ("option 'alpha': rank 0 has 0.5,
/// rank 1 has 0.7"); empty if they are equal. Pure.
std::string first_difference(const std::vector<std::string>& texts);

/// Collective. UsageError on all ranks if command, options, version or build differ.
void require_agreement(comm::Communicator& communicator, std::string_view command,
                       const core::OptionTable& table);

/// Collective. Workers of this rank: as many as `wanted`, or, where that is 0, usable cores / ranks
/// of this host that share them, at least 1. UsageError if these ranks have more than
/// kRanksPerCore workers a core together.
int workers_of_rank(comm::Communicator& communicator, int wanted);

}  // namespace retort::launch
