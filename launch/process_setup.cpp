#include "launch/process_setup.h"

#include <csignal>
#include <cstdlib>

#include "core/heap.h"
#include "core/stop.h"

namespace retort::launch {

void set_process_up() {
  core::keep_heap();
  // Read by MKL at its first use; stages set LibTorch's own count.
  setenv("OMP_NUM_THREADS", "1", 1);
  setenv("MKL_NUM_THREADS", "1", 1);
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);  // a limit of the file size is an error of write(2)
  core::install_stop_handlers();
}

}  // namespace retort::launch
