// What a process sets up before it does anything else.
#pragma once

namespace retort::launch {

/// Called first in main, before threads. Keeps freed memory in the process (core/heap.h), sets
/// intra-op threads of BLAS libraries to one (a rank's cores run micro-shards side by side),
/// installs the stop handlers, and lets writes to a closed pipe fail instead of kill.
void set_process_up();

}  // namespace retort::launch
