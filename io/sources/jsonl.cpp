// JSON lines: a value a line, an object as {"text": ..., "label": ...} or an array [text, label].
#include <array>

#include "io/sources/json_row.h"
#include "io/sources/text_lines.h"
#include "io/sources/text_source.h"

namespace retort::io {
namespace {

class JsonlSource : public TextSource {
 public:
  void declare(core::OptionTable&) override {}

  Scan scan(const TextFile& file, const std::function<void(const Record&)>& take) const override {
    LineReader lines(file.path);
    LineReader::Line line;
    Scan scan;
    while (lines.next(line)) {
      if (line.text.find_first_not_of(" \t\r") == line.text.npos)
        ++scan.blank_lines;
      else
        take({{line.offset, line.text.size()}, line.number, line.text, {}});
    }
    scan.seal = lines.seal();
    return scan;
  }

  std::unique_ptr<RowParser> parser(const TextFile&, const TextOptions& options) const override {
    return make_json_row_parser(options);
  }

 protected:
  std::span<const std::string_view> extensions() const override {
    static constexpr std::array<std::string_view, 3> kExtensions = {".jsonl", ".ndjson", ".json"};
    return kExtensions;
  }
  std::string label_place(const TextOptions& options) const override {
    return json_label_place(options);
  }
};

}  // namespace

std::unique_ptr<SampleSource> make_jsonl_source() { return std::make_unique<JsonlSource>(); }

}  // namespace retort::io
