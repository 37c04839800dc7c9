// JSON Lines, JSON documents and TSV. Input: a byte that chooses the source, a byte of switches,
// the file.
#include <array>

#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/source_files.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace retort;
  using Options = io::TextOptions;
  if (size < 2) return 0;
  static constexpr std::array kSources = {"jsonl", "json", "tsv"};
  const std::string name = kSources[data[0] % kSources.size()];
  Options options;
  options.label_separator = (data[1] & 1) != 0 ? "," : "";
  options.invalid_utf8 =
      (data[1] & 2) != 0 ? Options::InvalidUtf8::strict : Options::InvalidUtf8::replace;
  options.encoding = (data[1] & 4) != 0 ? Options::Encoding::latin1 : Options::Encoding::utf8;
  options.label_from = (data[1] & 8) != 0 ? Options::LabelFrom::none : Options::LabelFrom::row;
  options.split_field = (data[1] & 16) != 0 ? "split" : "";
  const std::filesystem::path path = fuzz::memory_folder() / ("texts." + name);
  fuzz::write(path, fuzz::text_of(data + 2, size - 2));
  io::SourceRequest request;
  request.path = path;
  request.text = options;
  fuzz::read_source(name, request);
  return 0;
}
