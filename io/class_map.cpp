#include "io/class_map.h"

#include <map>
#include <string_view>

#include <fmt/format.h>

#include "core/error.h"
#include "core/hash.h"
#include "io/atomic_file.h"
#include "io/utf8.h"

namespace retort::io {
namespace {

using core::DataError;

struct Line {
  std::size_t number = 0;
  std::string text;
};

// Without ends of lines of either kind and the mark that some editors begin UTF-8 with.
std::vector<Line> read_lines(const std::filesystem::path& file) {
  const std::vector<std::byte> bytes = read_file(file);
  std::string_view rest(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (rest.starts_with("\xef\xbb\xbf")) rest.remove_prefix(3);
  std::vector<Line> lines;
  for (std::size_t number = 1; !rest.empty(); ++number) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view text = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (text.ends_with('\r')) text.remove_suffix(1);
    lines.push_back({number, std::string(text)});
  }
  return lines;
}

std::string place(const std::filesystem::path& file, const Line& line) {
  return fmt::format("{}:{}", file.string(), line.number);
}

void check_name(const std::string& where, std::string_view name) {
  if (name.empty()) throw DataError(fmt::format("{}: a class name is empty", where));
  if (!is_plain_utf8(name))
    throw DataError(fmt::format("{}: the name {} is not plain UTF-8 text", where, escaped(name)));
}

using Index = std::map<std::string_view, std::uint32_t>;

Index index_of(std::span<const std::string> names) {
  Index index;
  for (std::uint32_t i = 0; i < names.size(); ++i) index.emplace(names[i], i);
  return index;
}

// One column of the map: which line named each class.
class Column {
 public:
  Column(std::span<const std::string> names, const char* owner)
      : names_(names), index_(index_of(names)), line_(names.size(), 0), owner_(owner) {}

  std::uint32_t take(const std::string& where, std::size_t line, std::string_view name) {
    check_name(where, name);
    const auto found = index_.find(name);
    if (found == index_.end())
      throw DataError(fmt::format("{}: '{}' is no class of the {}", where, name, owner_));
    std::size_t& first = line_[found->second];
    if (first != 0)
      throw DataError(fmt::format("{}: class '{}' of the {} was mapped in line {} already", where,
                                  name, owner_, first));
    first = line;
    return found->second;
  }
  void require_all(const std::filesystem::path& file) const {
    std::size_t missing = 0;
    std::string_view first;
    for (std::size_t i = 0; i < line_.size(); ++i)
      if (line_[i] == 0 && missing++ == 0) first = names_[i];
    if (missing > 0)
      throw DataError(fmt::format("{}: {} of {} classes of the {} are not mapped, first '{}'",
                                  file.string(), missing, names_.size(), owner_, first));
  }

 private:
  std::span<const std::string> names_;
  Index index_;
  std::vector<std::size_t> line_;
  const char* owner_;
};

}  // namespace

std::vector<std::string> read_class_list(const std::filesystem::path& file) {
  std::vector<std::string> names;
  std::map<std::string, std::size_t> first;
  for (Line& line : read_lines(file)) {
    const std::string where = place(file, line);
    check_name(where, line.text);
    const auto [at, fresh] = first.emplace(line.text, line.number);
    if (!fresh)
      throw DataError(
          fmt::format("{}: class '{}' is in line {} already", where, line.text, at->second));
    names.push_back(std::move(line.text));
  }
  if (names.empty())
    throw DataError(fmt::format("{}: is empty: write one class name a line", file.string()));
  return names;
}

void require_class_names(std::span<const std::string> names, const std::string& where) {
  for (const std::string& name : names) check_name(where, name);
  const Index index = index_of(names);
  for (std::size_t i = 0; i < names.size() && index.size() < names.size(); ++i)
    if (index.at(names[i]) != i)
      throw DataError(fmt::format("{}: class '{}' stands there twice", where, names[i]));
}

ClassOrder read_class_map(const std::filesystem::path& file,
                          std::span<const std::string> model_classes,
                          std::span<const std::string> data_classes) {
  Column models(model_classes, "model"), datas(data_classes, "data set");
  ClassOrder order;
  order.of_data.resize(data_classes.size());
  for (const Line& line : read_lines(file)) {
    const std::size_t tab = line.text.find('\t');
    if (tab == std::string::npos && (line.text.empty() || line.text.starts_with('#'))) continue;
    const std::string where = place(file, line);
    if (tab == std::string::npos || line.text.find('\t', tab + 1) != std::string::npos)
      throw DataError(fmt::format(
          "{}: two columns are wanted: the model's class name, a tab, the data set's", where));
    const std::string_view text = line.text;
    const std::uint32_t model = models.take(where, line.number, text.substr(0, tab));
    order.of_data[datas.take(where, line.number, text.substr(tab + 1))] = model;
  }
  models.require_all(file);
  datas.require_all(file);
  core::Sha256 hash;
  for (std::size_t d = 0; d < data_classes.size(); ++d)
    hash.update(model_classes[order.of_data[d]]).update("\t").update(data_classes[d]).update("\n");
  order.digest = hash.hex();
  return order;
}

}  // namespace retort::io
