#include "tests/fuzz/source_files.h"

#include "tests/fuzz/fuzz_target.h"

namespace retort::fuzz {

void read_source(std::string_view name, const io::SourceRequest& request) {
  for (const io::SourceEntry& entry : io::source_registry()) {
    if (entry.name != name) continue;
    may_refuse([&] {
      const auto source = entry.make();
      const io::Catalogue catalogue = source->list(request);
      require(io::Catalogue::parse(catalogue.serialise()).digest() == catalogue.digest());
      const auto reader = source->open(request, catalogue);
      io::SourceSample sample;
      for (std::uint64_t item = 0; item < catalogue.size(); ++item) {
        for (const std::uint32_t label : catalogue.labels(item))
          require(label < catalogue.class_names.size());
        require(catalogue.split(item) < catalogue.splits.size());
        may_refuse([&] { reader->read(catalogue, item, sample); });
      }
    });
    return;
  }
  require(false);
}

}  // namespace retort::fuzz
