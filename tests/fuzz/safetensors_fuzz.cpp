// Models from anywhere: io::SafetensorsFile.
#include "io/safetensors.h"
#include "tests/fuzz/fuzz_target.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace retort;
  fuzz::may_refuse([&] {
    const auto bytes = fuzz::bytes_of(data, size);
    const io::SafetensorsFile file({bytes.begin(), bytes.end()}, "model.safetensors");
    std::uint64_t covered = 0;
    for (const auto& [name, entry] : file.entries()) {
      fuzz::require(file.bytes(name).size() == entry.end - entry.begin);
      covered += entry.end - entry.begin;
      fuzz::may_refuse([&, &name = name] {
        const io::Tensor tensor = file.as_f32(name);
        fuzz::require(tensor.bytes.size() == 4 * tensor.elements());
      });
    }
    fuzz::require(covered <= size);
  });
  return 0;
}
