// Shards, generations, models: io::Hdf5Reader over all that a file holds. In the program an image
// comes here only after its SHA-256 was found to be its manifest's.
#include "io/hdf5.h"
#include "io/tensor_file.h"
#include "tests/fuzz/fuzz_target.h"

namespace {

using namespace retort;

void read_all(const std::vector<std::byte>& image, const std::string& kind) {
  const io::Hdf5Reader reader(image, "shard.h5", kind, ~std::uint32_t{0});
  const auto read_attributes = [&](const std::string& object) {
    for (const std::string& name : reader.attributes(object)) {
      fuzz::may_refuse([&] { reader.text(object, name); });
      fuzz::may_refuse([&] { reader.number(object, name); });
      fuzz::may_refuse([&] { reader.real(object, name); });
      fuzz::may_refuse([&] { reader.numbers(object, name); });
      fuzz::may_refuse([&] { reader.reals(object, name); });
    }
  };
  fuzz::may_refuse([&] { read_attributes(""); });
  for (const std::string& path : reader.datasets()) {
    fuzz::may_refuse([&] { reader.shape(path); });
    fuzz::may_refuse([&] { reader.dtype(path); });
    fuzz::may_refuse([&] { fuzz::require(reader.offset(path) <= image.size()); });
    fuzz::may_refuse([&] { fuzz::require(reader.bytes(path).size() <= image.size()); });
    fuzz::may_refuse([&] { reader.strings(path); });
    fuzz::may_refuse([&] { read_attributes(path); });
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = fuzz::bytes_of(data, size);
  const std::vector<std::byte> image(bytes.begin(), bytes.end());
  fuzz::may_refuse([&] {
    const io::Hdf5Kind kind = io::kind_of(image, "shard.h5");
    read_all(image, kind.kind);
    io::TensorAssembler tensors;
    tensors.add(image, "shard.h5", kind.kind);
    tensors.finish();
  });
  return 0;
}
