#include "pipeline/file_kinds.h"

#include <array>
#include <cstring>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "core/error.h"
#include "io/atomic_file.h"
#include "io/label_matrix.h"
#include "io/packed_shard.h"
#include "io/tensor_file.h"

namespace retort::pipeline {
namespace {

constexpr std::array<std::pair<std::string_view, std::uint32_t>, 6> kKinds = {{
    {io::kPackedShardKind, io::kPackedFormatVersion},
    {io::kPackedClassesKind, io::kPackedFormatVersion},
    {"logit_shard", 1},
    {io::kLabelRowsKind, io::kLabelMatrixVersion},
    {"model", io::kTensorFormatVersion},
    {"checkpoint", io::kTensorFormatVersion},
}};

}  // namespace

std::uint32_t newest_version(std::string_view kind) {
  for (const auto& [name, version] : kKinds)
    if (name == kind) return version;
  return 0;
}

OpenedFile open_file(const std::filesystem::path& path) {
  auto image = io::read_file(path);
  const auto where = path.string();
  const auto bytes = image.size();
  const auto kind = io::kind_of(image, where);
  const auto newest = newest_version(kind.kind);
  if (newest == 0)
    throw core::DataError(
        fmt::format("{}: has the unknown kind '{}'; use a newer Retort", where, kind.kind));
  return {kind, bytes, io::Hdf5Reader(std::move(image), where, kind.kind, newest)};
}

std::string element_type(const io::Hdf5Reader& reader, const std::string& dataset) {
  try {
    return std::string(io::name_of(reader.dtype(dataset)));
  } catch (const core::DataError&) {  // strings have no element type of ours
    reader.strings(dataset);
    return "text";
  }
}

std::vector<std::byte> content(const io::Hdf5Reader& reader, const std::string& dataset) {
  if (element_type(reader, dataset) != "text") return reader.bytes(dataset);
  std::string all;
  for (const auto& text : reader.strings(dataset)) all += fmt::format("{}:{}", text.size(), text);
  const auto bytes = std::as_bytes(std::span(all));
  return {bytes.begin(), bytes.end()};
}

bool is_hdf5(const std::filesystem::path& path) {
  constexpr std::array<unsigned char, 8> magic = {0x89, 'H', 'D', 'F', '\r', '\n', 0x1A, '\n'};
  const io::RandomAccessFile file(path);
  if (file.size() < magic.size()) return false;
  std::array<std::byte, magic.size()> head{};
  file.read(0, head);
  return std::memcmp(head.data(), magic.data(), magic.size()) == 0;
}

}  // namespace retort::pipeline
