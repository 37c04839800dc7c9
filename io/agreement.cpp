#include "io/agreement.h"

#include <optional>
#include <string>
#include <vector>

#include "core/error.h"

namespace retort::io {
namespace {

[[noreturn]] void rethrow(core::ExitCode code, const std::string& message) {
  switch (code) {
    case core::ExitCode::usage:
      throw core::UsageError(message);
    case core::ExitCode::data:
      throw core::DataError(message);
    case core::ExitCode::io:
      throw core::IoError(message);
    default:
      throw core::InternalError(message);
  }
}

}  // namespace

void agree(comm::Communicator& communicator, const std::function<void()>& work) {
  std::string outcome;  // empty: fine; else exit code, blank, message
  try {
    work();
  } catch (const core::Error& error) {
    outcome = std::to_string(static_cast<int>(error.code())) + " " + error.what();
  } catch (const std::bad_alloc&) {
    outcome = "74 out of memory; use fewer ranks on a node or a node with more memory";
  } catch (const std::exception& error) {
    outcome = std::string("70 ") + error.what();
  }
  const std::vector<std::string> outcomes = communicator.all_gather(outcome);
  for (std::size_t rank = 0; rank < outcomes.size(); ++rank) {
    const std::string& text = outcomes[rank];
    if (text.empty()) continue;
    const std::string where =
        outcomes.size() > 1 ? "rank " + std::to_string(rank) + ": " : std::string();
    rethrow(static_cast<core::ExitCode>(std::stoi(text)), where + text.substr(text.find(' ') + 1));
  }
}

}  // namespace retort::io
