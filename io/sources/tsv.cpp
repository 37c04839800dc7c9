// A text a line, in columns (TSV; "LABEL:fine question" of TREC) or alone.
#include <array>
#include <charconv>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"
#include "io/sources/text_lines.h"
#include "io/sources/text_source.h"
#include "io/utf8.h"

namespace retort::io {
namespace {

using core::DataError;
using core::UsageError;

struct TsvOptions {
  std::string text_column = "1";
  std::string label_column = "2";
  std::string split_column;
  std::uint64_t columns = 0;
  enum class Separator { tab, space } separator = Separator::tab;
  bool header = false;

  char separator_byte() const { return separator == Separator::tab ? '\t' : ' '; }
};

// Columns of a line, at most `most` (0: any number): the last one takes the rest.
void cut(std::string_view line, char separator, std::uint64_t most,
         std::vector<std::string_view>& columns) {
  columns.clear();
  while (most == 0 || columns.size() + 1 < most) {
    const std::size_t end = line.find(separator);
    if (end == line.npos) break;
    columns.push_back(line.substr(0, end));
    line.remove_prefix(end + 1);
  }
  columns.push_back(line);
}

// Position of a column that an option gives as a number from 1; npos for a name.
std::size_t numbered(const std::string& column) {
  std::size_t number = 0;
  const auto [end, error] = std::from_chars(column.data(), column.data() + column.size(), number);
  if (error != std::errc() || end != column.data() + column.size() || number < 1)
    return std::string::npos;
  return number - 1;
}

class TsvRowParser : public RowParser {
 public:
  /// `head`: the file's first line if it names the columns.
  TsvRowParser(TsvOptions tsv, TextOptions options, std::string head, const std::string& where)
      : tsv_(std::move(tsv)), options_(std::move(options)) {
    std::vector<std::string_view> names;
    if (tsv_.header) {
      (void)make_utf8(head, options_);
      cut(head, tsv_.separator_byte(), tsv_.columns, names);
      expected_ = names.size();
    }
    const auto find = [&](const std::string& column, const char* option) {
      if (const std::size_t number = numbered(column); number != std::string::npos) return number;
      const auto found = std::find(names.begin(), names.end(), column);
      if (found == names.end())
        throw UsageError(
            fmt::format("--{} {}: the first line of {} has no such column (there are: "
                        "{})",
                        option, column, where, escaped(fmt::format("{}", fmt::join(names, ", ")))));
      return static_cast<std::size_t>(found - names.begin());
    };
    text_ = find(tsv_.text_column, "text-column");
    if (options_.label_from == TextOptions::LabelFrom::row)
      label_ = find(tsv_.label_column, "label-column");
    if (!tsv_.split_column.empty()) split_ = find(tsv_.split_column, "split-column");
  }

  void parse(std::string& record, TextRow& row) override {
    row.replaced = make_utf8(record, options_);
    cut(record, tsv_.separator_byte(), tsv_.columns, columns_);
    if (expected_ == 0) expected_ = columns_.size();
    if (columns_.size() != expected_)
      throw DataError(
          fmt::format("{} columns where the first line has {}; {}", columns_.size(), expected_,
                      columns_.size() > expected_
                          ? "if the last column holds separators, say how many columns there are "
                            "with --columns"
                          : "write all separators, also before what is empty"));
    row.text = at(text_, "text-column");
    if (label_ != std::string::npos) {
      row.has_label = true;
      add_labels(at(label_, "label-column"), options_, row);
    }
    if (split_ == std::string::npos) return;
    row.split = at(split_, "split-column");
    if (row.split.empty()) throw DataError("the column of the split is empty");
  }

 private:
  std::string_view at(std::size_t column, const char* option) const {
    if (column < columns_.size()) return columns_[column];
    throw DataError(fmt::format("no column {}, the line has {}; say --{}", column + 1,
                                columns_.size(), option));
  }

  TsvOptions tsv_;
  TextOptions options_;
  std::size_t text_ = 0, label_ = std::string::npos, split_ = std::string::npos;
  std::size_t expected_ = 0;
  std::vector<std::string_view> columns_;
};

class TsvSource : public TextSource {
 public:
  void declare(core::OptionTable& table) override {
    table.group("Source: tsv");
    table.add("text-column", &tsv_.text_column,
              "column of the text: a number from 1, or a name of the first line");
    table.add("label-column", &tsv_.label_column, "column of the label, in the same way");
    table.add("split-column", &tsv_.split_column,
              "column of the split, in the same way; empty: none");
    table.add_choice("separator", &tsv_.separator,
                     {{"tab", TsvOptions::Separator::tab}, {"space", TsvOptions::Separator::space}},
                     "what stands between columns");
    table.add("columns", &tsv_.columns,
              "columns of a line: the last one takes the rest, separators among it; 0: as many as "
              "there are");
    table.add("header", &tsv_.header, "the first line of each file names the columns");
  }

  Scan scan(const TextFile& file, const std::function<void(const Record&)>& take) const override {
    LineReader lines(file.path);
    LineReader::Line line;
    Scan scan;
    while (lines.next(line)) {
      if (tsv_.header && line.number == 1) continue;
      if (line.text.empty())
        ++scan.blank_lines;
      else
        take({{line.offset, line.text.size()}, line.number, line.text, {}});
    }
    scan.seal = lines.seal();
    return scan;
  }

  std::unique_ptr<RowParser> parser(const TextFile& file,
                                    const TextOptions& options) const override {
    std::string head;
    if (tsv_.header) {
      LineReader lines(file.path);
      LineReader::Line line;
      if (lines.next(line)) head = line.text;
    }
    return std::make_unique<TsvRowParser>(tsv_, options, std::move(head), file.path.string());
  }

 protected:
  std::span<const std::string_view> extensions() const override {
    static constexpr std::array<std::string_view, 3> kExtensions = {".tsv", ".txt", ".tab"};
    return kExtensions;
  }
  std::string label_place(const TextOptions&) const override {
    return fmt::format(" (column {})", tsv_.label_column);
  }
  void check(const TextOptions& options) const override {
    check_column(tsv_.text_column, "text-column");
    if (options.label_from == TextOptions::LabelFrom::row) {
      check_column(tsv_.label_column, "label-column");
      if (tsv_.label_column == tsv_.text_column)
        throw UsageError(
            fmt::format("--text-column and --label-column are both {}", tsv_.text_column));
    }
    if (!tsv_.split_column.empty()) check_column(tsv_.split_column, "split-column");
  }

 private:
  void check_column(const std::string& column, const char* option) const {
    const std::size_t number = numbered(column);
    if (number == std::string::npos && (column.empty() || !tsv_.header))
      throw UsageError(
          fmt::format("--{} {}: give a number from 1, or --header where the first "
                      "line names the columns",
                      option, column));
    if (number != std::string::npos && tsv_.columns != 0 && number >= tsv_.columns)
      throw UsageError(fmt::format("--{} {}: there are {} columns, as --columns says", option,
                                   column, tsv_.columns));
  }

  TsvOptions tsv_;
};

}  // namespace

std::unique_ptr<SampleSource> make_tsv_source() { return std::make_unique<TsvSource>(); }

}  // namespace retort::io
