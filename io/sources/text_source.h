// What the sources of texts share: files become records, records become rows, rows a catalogue; a
// reader finds the text of a row again. A new one says what a record is and how it becomes a row.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "io/sources/source.h"
#include "io/sources/text_catalogue.h"
#include "io/sources/text_files.h"
#include "io/sources/text_row.h"

namespace retort::io {

/// Makes rows of the records of one file. One thread.
class RowParser {
 public:
  virtual ~RowParser() = default;
  /// `record` may be changed. DataError with the reason only.
  virtual void parse(std::string& record, TextRow& row) = 0;
};

class TextSource : public SampleSource {
 public:
  Catalogue list(const SourceRequest& request) const final;
  std::unique_ptr<SampleReader> open(const SourceRequest& request,
                                     const Catalogue& catalogue) const final;

  struct Record {
    Catalogue::Place place;
    std::uint64_t line = 0;
    std::string_view bytes;
    std::string_view split;  // that the file's structure says; empty: none
  };
  struct Scan {
    FileSeal seal;
    std::uint64_t blank_lines = 0;
  };
  /// Hands out the records of a file in order. DataError names file and line.
  virtual Scan scan(const TextFile& file, const std::function<void(const Record&)>& take) const = 0;
  virtual std::unique_ptr<RowParser> parser(const TextFile& file,
                                            const TextOptions& options) const = 0;

 protected:
  /// With dots, in small letters.
  virtual std::span<const std::string_view> extensions() const = 0;
  /// UsageError if the source's own options contradict each other or these.
  virtual void check(const TextOptions&) const {}
  /// What holds a row's label, for the message that there is none: ", as --label-field says".
  virtual std::string label_place(const TextOptions& options) const = 0;
};

}  // namespace retort::io
