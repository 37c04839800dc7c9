// What kind of CPU this is: results are the same bits on the same kind only.
#pragma once

#include <string>

namespace retort::core {

/// Its name as the kernel says it ("AMD EPYC 9B14"); "unknown" if it does not.
std::string processor_name();

}  // namespace retort::core
