// Errors that all ranks share: work that can fail on one rank must not leave the others waiting.
#pragma once

#include <functional>
#include <string>

#include "comm/communicator.h"

namespace retort::io {

/// Collective. Runs `work` on this rank, then learns how the others fared; if it failed anywhere,
/// every rank throws the error of the lowest failing rank (its type and text, and which rank, when
/// there is more than one). `work` must not itself start a collective.
void agree(comm::Communicator& communicator, const std::function<void()>& work);

/// Collective. DataError with `message` unless all ranks say the same.
void require_same(comm::Communicator& communicator, const std::string& text,
                  const std::string& message);

/// Collective. Runs `work` on rank 0 while the others wait; its error is thrown on all ranks, with
/// its type and text.
void on_root(comm::Communicator& communicator, const std::function<void()>& work);

}  // namespace retort::io
