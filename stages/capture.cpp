#include "stages/capture.h"

#include <algorithm>

#include "io/loader.h"
#include "stages/best_classes.h"
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
  options.marks = capture.marks;
  return io::load_micro_batch(capture.data, options, pass, samples, 0);
}

io::EncodedRows capture_batch(const Capture& capture, std::uint64_t pass, core::Range samples,
                              PhaseClock& clock) {
  const io::MicroBatch batch = load_batch(capture, pass, samples);
  clock.mark(Phase::load);
  const Network network = network_of(capture.teacher);
  const at::Tensor logits = infer_in_place(network, capture.teacher.description.input, batch);
  clock.mark(Phase::forward);
  io::EncodedRows rows;
  if (network.accelerator != nullptr && capture.facts.layout.form != io::RowForm::sampled) {
    BestClasses best = best_classes(*network.accelerator, capture, batch, logits);
    clock.mark(Phase::device);
    rows = encode_best(capture.facts.layout, batch.samples.size(), std::move(best));
  } else {
    const at::Tensor host = logits.to(at::kCPU);  // draws are made there; itself if it is there
    rows = encode_batch(capture, pass, batch,
                        {host.const_data_ptr<float>(), static_cast<std::size_t>(host.numel())});
  }
  clock.mark(Phase::top_k);
  return rows;
}

}  // namespace retort::stages
