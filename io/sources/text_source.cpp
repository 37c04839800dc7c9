#include "io/sources/text_source.h"

#include <map>
#include <utility>

#include <fmt/format.h>

#include "core/error.h"

namespace retort::io {
namespace {

using core::DataError;

class TextReader : public SampleReader {
 public:
  TextReader(const TextSource& source, SourceRequest request, TextFiles files,
             const nlohmann::json& sizes)
      : source_(source), request_(std::move(request)), files_(std::move(files)) {
    for (const TextFile& file : files_.files) by_name_[file.name].file = &file;
    for (const auto& entry : sizes)
      if (const auto found = by_name_.find(entry.at("file").get<std::string>());
          found != by_name_.end())
        found->second.bytes = entry.at("bytes").get<std::uint64_t>();
  }

  void read(const Catalogue& catalogue, std::uint64_t item, SourceSample& sample) override {
    const std::string_view name = catalogue.name(item);
    const auto found = by_name_.find(name.substr(0, name.rfind(':')));
    if (found == by_name_.end()) throw changed(name);
    Opened& opened = found->second;
    if (!opened.parser) open(opened, name);
    const Catalogue::Place place = catalogue.place(item);
    record_.resize(place.bytes);
    row_.clear();
    try {
      opened.bytes_of->read(place.offset, std::as_writable_bytes(std::span(record_)));
      opened.parser->parse(record_, row_);
    } catch (const DataError& error) {
      // Not a broken sample, which would be left out: it was listed without fault.
      throw core::IoError(
          fmt::format("{}: {}; the file changed since it was listed", name, error.what()));
    }
    if (row_.text.size() != catalogue.bytes(item)) throw changed(name);
    sample.shape = {};
    const auto bytes = std::as_bytes(std::span(row_.text));
    sample.bytes.assign(bytes.begin(), bytes.end());
  }

 private:
  struct Opened {
    const TextFile* file = nullptr;
    std::uint64_t bytes = 0;
    std::unique_ptr<RandomAccessFile> bytes_of;
    std::unique_ptr<RowParser> parser;
  };

  static core::IoError changed(std::string_view name) {
    return core::IoError(fmt::format("{}: the file changed since it was listed; pack again", name));
  }
  void open(Opened& opened, std::string_view name) {
    opened.bytes_of = std::make_unique<RandomAccessFile>(opened.file->path);
    if (opened.bytes_of->size() != opened.bytes) throw changed(name);
    opened.parser = source_.parser(*opened.file, request_.text);
  }

  const TextSource& source_;
  SourceRequest request_;
  TextFiles files_;
  std::map<std::string, Opened, std::less<>> by_name_;
  std::string record_;
  TextRow row_;
};

}  // namespace

Catalogue TextSource::list(const SourceRequest& request) const {
  check(request.text);
  const TextFiles files = find_text_files(request.path, extensions(), request.text);
  TextCatalogue catalogue(request.text);
  std::string record;
  TextRow row;
  for (const TextFile& file : files.files) {
    const auto parser = this->parser(file, request.text);
    const Scan scanned = scan(file, [&](const Record& found) {
      const TextPlace place{&file, found.line, found.place, found.split};
      record.assign(found.bytes);
      row.clear();
      try {
        parser->parse(record, row);
      } catch (const DataError& error) {
        throw DataError(fmt::format("{}: {}", place.text(), error.what()));
      }
      catalogue.add(row, place);
    });
    catalogue.end_file(file, scanned.seal, scanned.blank_lines);
  }
  return catalogue.finish(files, label_place(request.text));
}

std::unique_ptr<SampleReader> TextSource::open(const SourceRequest& request,
                                               const Catalogue& catalogue) const {
  return std::make_unique<TextReader>(*this, request,
                                      find_text_files(request.path, extensions(), request.text),
                                      catalogue.facts.at("files"));
}

}  // namespace retort::io
