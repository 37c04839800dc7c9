#include "pipeline/agreement.h"

#include "io/agreement.h"

namespace retort::pipeline {

std::string from_root(comm::Communicator& communicator, const std::function<std::string()>& work) {
  std::string answer;
  io::on_root(communicator, [&] { answer = work(); });
  return communicator.broadcast(answer);
}

}  // namespace retort::pipeline
