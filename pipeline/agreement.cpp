#include "pipeline/agreement.h"

#include <charconv>
#include <exception>

#include "core/error.h"

namespace retort::pipeline {
namespace {

constexpr char kValue = 'v';
constexpr char kError = 'e';

[[noreturn]] void rethrow(const std::string& answer) {
  int code = 0;
  const char* const end = answer.data() + answer.size();
  const auto number = std::from_chars(answer.data() + 1, end, code);
  const std::string message(number.ptr + 1, end);
  switch (static_cast<core::ExitCode>(code)) {
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

std::string from_root(comm::Communicator& communicator, const std::function<std::string()>& work) {
  std::string answer;
  if (communicator.root()) {
    const auto error_text = [](core::ExitCode code, const std::string& message) {
      return kError + std::to_string(static_cast<int>(code)) + " " + message;
    };
    try {
      answer = kValue + work();
    } catch (const core::Error& error) {
      answer = error_text(error.code(), error.what());
    } catch (const std::exception& error) {
      answer = error_text(core::ExitCode::internal, error.what());
    }
  }
  answer = communicator.broadcast(answer);
  if (answer.empty() || answer.front() != kValue) rethrow(answer);
  return answer.substr(1);
}

}  // namespace retort::pipeline
