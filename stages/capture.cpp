#include "stages/capture.h"

#include <algorithm>

#include "io/loader.h"
#include "stages/inference.h"
#include "stages/row_encoding.h"

namespace retort::stages {

core::Range Capture::samples(core::Range shard, std::uint64_t index) const {
  const std::uint64_t begin = shard.begin + index * batch;
  return {begin, std::min(begin + batch, shard.end)};
}

io::MicroBatch load_batch(const Capture& capture, std::uint64_t pass, core::Range samples) {
  io::LoaderOptions options = io::loader_options(capture.teacher.description);
  options.shuffle = false;
  options.augment = capture.augment;
  options.augment_seed = capture.facts.seed;
  options.passes = capture.facts.passes;
  options.threads = 0;
  return io::load_micro_batch(capture.data, options, pass, samples, 0);
}

io::EncodedRows capture_batch(const Capture& capture, std::uint64_t pass, core::Range samples,
                              PhaseClock& clock) {
  const io::MicroBatch batch = load_batch(capture, pass, samples);
  clock.mark(Phase::load);
  const at::Tensor logits = infer(capture.teacher, batch);
  clock.mark(Phase::forward);
  io::EncodedRows rows =
      encode_batch(capture, pass, batch,
                   {logits.const_data_ptr<float>(), static_cast<std::size_t>(logits.numel())});
  clock.mark(Phase::top_k);
  return rows;
}

}  // namespace retort::stages
