// A source as `pack` uses it, for tests: by name, with options set.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/options.h"
#include "io/sources/source.h"
#include "io/sources/text_options.h"

namespace retort::io {

inline void write(const std::filesystem::path& path, const std::string& text) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

class Source {
 public:
  explicit Source(const std::string& name, const std::map<std::string, std::string>& options = {}) {
    for (const auto& entry : source_registry())
      if (entry.name == name) source_ = entry.make();
    declare_text_options(table_, &request_.text);
    declare_json_options(table_, &request_.text);
    source_->declare(table_);
    for (const auto& [key, value] : options) table_.set(key, value);
  }
  Catalogue list(const std::filesystem::path& path) {
    request_.path = path;
    return source_->list(request_);
  }
  SourceSample read(const Catalogue& catalogue, std::uint64_t item) {
    SourceSample sample;
    source_->open(request_, catalogue)->read(catalogue, item, sample);
    return sample;
  }
  std::string text(const Catalogue& catalogue, std::uint64_t item) {
    const SourceSample sample = read(catalogue, item);
    return {reinterpret_cast<const char*>(sample.bytes.data()), sample.bytes.size()};
  }
  /// "65 what it says"
  std::string fault(const std::filesystem::path& path) {
    try {
      (void)list(path);
    } catch (const core::Error& e) {
      return std::to_string(static_cast<int>(e.code())) + " " + e.what();
    }
    return "no error";
  }
  SourceRequest& request() { return request_; }

 private:
  core::OptionTable table_;
  std::unique_ptr<SampleSource> source_;
  SourceRequest request_;
};

/// "NAME=CLASS+CLASS@SPLIT" of every sample, "-" for no class.
inline std::vector<std::string> names(const Catalogue& catalogue) {
  std::vector<std::string> list;
  for (std::uint64_t i = 0; i < catalogue.size(); ++i) {
    std::string labels;
    for (const std::uint32_t label : catalogue.labels(i))
      labels += (labels.empty() ? "" : "+") + catalogue.class_names[label];
    list.push_back(std::string(catalogue.name(i)) + "=" + (labels.empty() ? "-" : labels) + "@" +
                   catalogue.splits[catalogue.split(i)]);
  }
  return list;
}

}  // namespace retort::io
