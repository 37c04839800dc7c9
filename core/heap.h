// The allocator's settings.
#pragma once

namespace retort::core {

/// Freed memory stays in the process, in one arena: glibc gives big blocks back to the system and
/// fetches them again page by page (measured: steps 1.2 to 2.8 times slower). Before any thread
/// starts. Nothing where the C library is not glibc.
void keep_heap();

}  // namespace retort::core
