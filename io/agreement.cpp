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

/// Before the message of an OtherRecipeError: no message holds one.
constexpr char kOtherRecipe = '\x1f';

/// What became of `work`: empty if it is done, else exit code, blank, message.
std::string outcome_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const core::OtherRecipeError& error) {
    return std::to_string(static_cast<int>(error.code())) + " " + kOtherRecipe + error.what();
  } catch (const core::Error& error) {
    return std::to_string(static_cast<int>(error.code())) + " " + error.what();
  } catch (const std::bad_alloc&) {
    return "74 out of memory; use fewer ranks on a node or a node with more memory";
  } catch (const std::exception& error) {
    return std::string("70 ") + error.what();
  }
  return "";
}

/// Throws what outcome_of() told, unless it is empty.
void throw_outcome(const std::string& outcome, const std::string& where) {
  if (outcome.empty()) return;
  const std::string message = outcome.substr(outcome.find(' ') + 1);
  if (message.starts_with(kOtherRecipe)) throw core::OtherRecipeError(where + message.substr(1));
  rethrow(static_cast<core::ExitCode>(std::stoi(outcome)), where + message);
}

}  // namespace

void agree(comm::Communicator& communicator, const std::function<void()>& work) {
  const std::vector<std::string> outcomes = communicator.all_gather(outcome_of(work));
  for (std::size_t rank = 0; rank < outcomes.size(); ++rank)
    throw_outcome(outcomes[rank],
                  outcomes.size() > 1 ? "rank " + std::to_string(rank) + ": " : std::string());
}

void require_same(comm::Communicator& communicator, const std::string& text,
                  const std::string& message) {
  const std::string of_root = communicator.broadcast(text);
  agree(communicator, [&] {
    if (text != of_root) throw core::DataError(message);
  });
}

void on_root(comm::Communicator& communicator, const std::function<void()>& work) {
  const std::string own = communicator.root() ? outcome_of(work) : std::string();
  throw_outcome(communicator.broadcast(own), "");
}

}  // namespace retort::io
