#include "io/sources/source.h"

#include <array>
#include <cstring>

#include "core/error.h"
#include "core/hash.h"

namespace retort::io {

// One line per source: a declaration of its factory here and its row in the table.
std::unique_ptr<SampleSource> make_idx_source();
std::unique_ptr<SampleSource> make_folder_source();
std::unique_ptr<SampleSource> make_glyph_source();
std::unique_ptr<SampleSource> make_jsonl_source();
std::unique_ptr<SampleSource> make_json_source();
std::unique_ptr<SampleSource> make_tsv_source();

namespace {

constexpr std::array kSources = {
    SourceEntry{"idx", "MNIST's IDX files, plain or gzip", SourceKind::images, make_idx_source},
    SourceEntry{"folder", "a folder of pictures per class", SourceKind::images, make_folder_source},
    SourceEntry{"glyphs", "characters rendered from installed fonts", SourceKind::images,
                make_glyph_source},
    SourceEntry{"jsonl", "texts, a JSON value a line", SourceKind::texts, make_jsonl_source},
    SourceEntry{"json", "texts, arrays of JSON values, one per split", SourceKind::texts,
                make_json_source},
    SourceEntry{"tsv", "texts, a line each, in columns or alone", SourceKind::texts,
                make_tsv_source},
};

// Length-prefixed fields in native byte order: the text only travels between ranks of one job.
class Packer {
 public:
  template <class T>
  void array(const std::vector<T>& values) {
    bytes(values.data(), values.size() * sizeof(T));
  }
  void text(std::string_view value) { bytes(value.data(), value.size()); }
  void texts(const std::vector<std::string>& values) {
    std::vector<std::uint64_t> ends;
    std::string all;
    for (const auto& value : values) {
      all += value;
      ends.push_back(all.size());
    }
    array(ends);
    text(all);
  }
  std::string take() { return std::move(out_); }

 private:
  void bytes(const void* data, std::uint64_t size) {
    out_.append(reinterpret_cast<const char*>(&size), sizeof size);
    if (size != 0) out_.append(static_cast<const char*>(data), size);
  }
  std::string out_;
};

class Unpacker {
 public:
  explicit Unpacker(std::string_view text) : text_(text) {}
  template <class T>
  std::vector<T> array() {
    const std::string_view bytes = field();
    if (bytes.size() % sizeof(T) != 0) fail();
    std::vector<T> values(bytes.size() / sizeof(T));
    if (!values.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
  }
  std::string text() { return std::string(field()); }
  std::vector<std::string> texts() {
    const auto ends = array<std::uint64_t>();
    const std::string_view all = field();
    std::vector<std::string> values;
    std::uint64_t begin = 0;
    for (const std::uint64_t end : ends) {
      if (end < begin || end > all.size()) fail();
      values.emplace_back(all.substr(begin, end - begin));
      begin = end;
    }
    return values;
  }

 private:
  [[noreturn]] static void fail() {
    throw core::InternalError("the list of samples from rank 0 is malformed");
  }
  std::string_view field() {
    std::uint64_t size = 0;
    if (text_.size() < sizeof size) fail();
    std::memcpy(&size, text_.data(), sizeof size);
    text_.remove_prefix(sizeof size);
    if (size > text_.size()) fail();
    const std::string_view value = text_.substr(0, size);
    text_.remove_prefix(size);
    return value;
  }
  std::string_view text_;
};

}  // namespace

std::span<const SourceEntry> source_registry() { return kSources; }

void Catalogue::add(std::string_view name, std::span<const std::uint32_t> labels,
                    std::uint32_t split, std::uint64_t bytes) {
  names_ += name;
  name_end_.push_back(names_.size());
  labels_.insert(labels_.end(), labels.begin(), labels.end());
  label_end_.push_back(labels_.size());
  split_.push_back(split);
  bytes_.push_back(bytes);
}

void Catalogue::add(std::string_view name, std::span<const std::uint32_t> labels,
                    std::uint32_t split, std::uint64_t bytes, Place place) {
  add(name, labels, split, bytes);
  places_.push_back(place);
}

std::string_view Catalogue::name(std::uint64_t item) const {
  const std::uint64_t begin = item == 0 ? 0 : name_end_[item - 1];
  return std::string_view(names_).substr(begin, name_end_[item] - begin);
}

std::span<const std::uint32_t> Catalogue::labels(std::uint64_t item) const {
  const std::uint64_t begin = item == 0 ? 0 : label_end_[item - 1];
  return {labels_.data() + begin, labels_.data() + label_end_[item]};
}

void Catalogue::map_labels(std::span<const std::uint32_t> to) {
  std::uint64_t kept = 0, begin = 0;
  for (std::uint64_t& end : label_end_) {
    const std::uint64_t item_end = end;
    for (; begin < item_end; ++begin)
      if (const std::uint32_t label = to[labels_[begin]]; label != kNoLabel)
        labels_[kept++] = label;
    end = kept;
  }
  labels_.resize(kept);
}

void Catalogue::drop_labels(const std::vector<std::uint8_t>& of_split) {
  std::uint64_t kept = 0, begin = 0;
  for (std::uint64_t i = 0; i < size(); ++i) {
    const std::uint64_t end = label_end_[i];
    if (of_split[split_[i]] == 0)
      for (std::uint64_t k = begin; k < end; ++k) labels_[kept++] = labels_[k];
    begin = end;
    label_end_[i] = kept;
  }
  labels_.resize(kept);
}

void Catalogue::keep_samples(const std::vector<std::uint8_t>& keep) {
  Catalogue kept;
  for (std::uint64_t i = 0; i < size(); ++i) {
    if (keep[i] == 0) continue;
    if (places_.empty())
      kept.add(name(i), labels(i), split_[i], bytes_[i]);
    else
      kept.add(name(i), labels(i), split_[i], bytes_[i], places_[i]);
  }
  names_.swap(kept.names_);
  name_end_.swap(kept.name_end_);
  labels_.swap(kept.labels_);
  label_end_.swap(kept.label_end_);
  split_.swap(kept.split_);
  bytes_.swap(kept.bytes_);
  places_.swap(kept.places_);
}

std::string Catalogue::digest() const { return core::sha256_hex(pack("")); }

std::string Catalogue::serialise() const {
  Packer packer;
  packer.text(pack(facts.dump()));
  packer.array(places_);
  return packer.take();
}

std::string Catalogue::pack(std::string_view facts_text) const {
  Packer packer;
  packer.texts(class_names);
  packer.texts(splits);
  packer.array(std::vector<std::uint32_t>{shape.height, shape.width, shape.channels});
  packer.text(origin);
  packer.text(facts_text);
  packer.text(names_);
  packer.array(name_end_);
  packer.array(labels_);
  packer.array(label_end_);
  packer.array(split_);
  packer.array(bytes_);
  return packer.take();
}

Catalogue Catalogue::parse(std::string_view text) {
  Unpacker outer(text);
  const std::string listed = outer.text();
  Unpacker unpacker(listed);
  Catalogue catalogue;
  catalogue.places_ = outer.array<Place>();
  catalogue.class_names = unpacker.texts();
  catalogue.splits = unpacker.texts();
  const auto shape = unpacker.array<std::uint32_t>();
  if (shape.size() != 3) throw core::InternalError("the list of samples has no shape");
  catalogue.shape = {shape[0], shape[1], shape[2]};
  catalogue.origin = unpacker.text();
  catalogue.facts = nlohmann::json::parse(unpacker.text());
  catalogue.names_ = unpacker.text();
  catalogue.name_end_ = unpacker.array<std::uint64_t>();
  catalogue.labels_ = unpacker.array<std::uint32_t>();
  catalogue.label_end_ = unpacker.array<std::uint64_t>();
  catalogue.split_ = unpacker.array<std::uint32_t>();
  catalogue.bytes_ = unpacker.array<std::uint64_t>();
  return catalogue;
}

}  // namespace retort::io
