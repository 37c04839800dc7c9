// MNIST's files, plain and gzip. Input: a byte of switches, two bytes of length of the images'
// file, that file, the labels' file.
#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/source_files.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace retort;
  if (size < 3) return 0;
  const std::string end = (data[0] & 1) != 0 ? ".gz" : "";
  const std::string_view rest = fuzz::text_of(data + 3, size - 3);
  const std::size_t images = std::size_t{data[1]} << 8 | data[2];
  const auto& folder = fuzz::memory_folder();
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    std::filesystem::remove(entry.path());
  fuzz::write(folder / ("train-images-idx3-ubyte" + end), rest.substr(0, images));
  fuzz::write(folder / ("train-labels-idx1-ubyte" + end),
              images < rest.size() ? rest.substr(images) : "");
  io::SourceRequest request;
  request.path = folder;
  fuzz::read_source("idx", request);
  return 0;
}
