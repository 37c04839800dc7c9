// Ranks compare notes before a stage starts.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "comm/communicator.h"
#include "core/options.h"

namespace retort::launch {

/// `name = value` lines of what decides the result or where it lies: all options but those with
/// OptionEffect::run.
std::string decisive_options(std::string_view command, const core::OptionTable& table);

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
