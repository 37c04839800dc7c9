// Numbers of all ranks on every rank.
#pragma once

#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "comm/communicator.h"

namespace retort::stages {

/// Collective. All ranks' numbers, in order of ranks; T: plain bytes.
template <class T>
std::vector<T> gathered(comm::Communicator& communicator, std::span<const T> own) {
  const std::vector<std::string> texts = communicator.all_gather(
      std::string(reinterpret_cast<const char*>(own.data()), own.size_bytes()));
  std::vector<T> all;
  for (const std::string& text : texts) {
    const std::size_t begin = all.size();
    all.resize(begin + text.size() / sizeof(T));
    if (!text.empty()) std::memcpy(all.data() + begin, text.data(), text.size());
  }
  return all;
}

}  // namespace retort::stages
