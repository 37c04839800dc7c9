#include "core/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>
#include <string_view>

namespace retort::core {

int terminal_columns() {
  constexpr int kUsual = 80;
  if (const char* told = std::getenv(kTerminalVariable)) {
    const int columns = std::atoi(told);
    return columns > 0 ? columns : 0;
  }
  if (isatty(STDERR_FILENO) == 0) return 0;
  const char* kind = std::getenv("TERM");
  if (kind == nullptr || std::string_view(kind) == "dumb") return 0;
  winsize size{};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return kUsual;
}

}  // namespace retort::core
