// JSON documents: an object of arrays, one per split, or one array; its elements are rows as those
// of JSON lines. A document is in memory while it is listed.
#include <array>

#include "io/atomic_file.h"
#include "io/sources/json_document.h"
#include "io/sources/json_row.h"
#include "io/sources/text_lines.h"
#include "io/sources/text_source.h"

namespace retort::io {
namespace {

class JsonSource : public TextSource {
 public:
  void declare(core::OptionTable&) override {}

  Scan scan(const TextFile& file, const std::function<void(const Record&)>& take) const override {
    const std::vector<std::byte> bytes = read_file(file.path);
    std::string_view document(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    const std::size_t begin = text_begins(document, file.path.string());
    document.remove_prefix(begin);
    scan_json_document(document, file.path.string(), [&](const JsonElement& element) {
      take(
          {{begin + element.offset, element.text.size()}, element.line, element.text, element.key});
    });
    return {{bytes.size(), core::sha256_hex(bytes)}, 0};
  }

  std::unique_ptr<RowParser> parser(const TextFile&, const TextOptions& options) const override {
    return make_json_row_parser(options);
  }

 protected:
  std::span<const std::string_view> extensions() const override {
    static constexpr std::array<std::string_view, 1> kExtensions = {".json"};
    return kExtensions;
  }
  std::string label_place(const TextOptions& options) const override {
    return json_label_place(options);
  }
};

}  // namespace

std::unique_ptr<SampleSource> make_json_source() { return std::make_unique<JsonSource>(); }

}  // namespace retort::io
