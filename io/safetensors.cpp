#include "io/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <optional>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "io/half.h"
#include "io/run_section.h"
#include "io/utf8.h"

namespace retort::io {
namespace {

using core::DataError;

constexpr std::uint64_t kPrefix = 8;  // bytes of the header's length
constexpr std::string_view kMetadata = "__metadata__";

struct Type {
  std::string_view name;
  std::uint64_t size;          // bytes of an element
  std::optional<DType> dtype;  // of Retort's own files
};
// In the order by which the reference implementation sorts: the last come first in a file.
constexpr std::array<Type, 16> kTypes = {{{"BOOL", 1, {}},
                                          {"U8", 1, DType::u8},
                                          {"I8", 1, {}},
                                          {"F8_E5M2", 1, {}},
                                          {"F8_E4M3", 1, {}},
                                          {"F8_E8M0", 1, {}},
                                          {"I16", 2, {}},
                                          {"U16", 2, DType::u16},
                                          {"F16", 2, DType::f16},
                                          {"BF16", 2, {}},
                                          {"I32", 4, DType::i32},
                                          {"U32", 4, DType::u32},
                                          {"F32", 4, DType::f32},
                                          {"F64", 8, DType::f64},
                                          {"I64", 8, DType::i64},
                                          {"U64", 8, DType::u64}}};

const Type* find_type(std::string_view name) {
  const auto* found = std::find_if(kTypes.begin(), kTypes.end(),
                                   [&](const Type& type) { return type.name == name; });
  return found == kTypes.end() ? nullptr : found;
}

// For messages: names come from anywhere.
std::string shown(std::string_view name) {
  constexpr std::size_t kMost = 120;
  return fmt::format("'{}{}'", escaped(name.substr(0, kMost)), name.size() > kMost ? "…" : "");
}

[[noreturn]] void reject(const std::string& where, const std::string& why) {
  throw DataError(
      fmt::format("{}: {}: no sound safetensors file; save or fetch it anew", where, why));
}

std::uint64_t little_endian(std::span<const std::byte> bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < kPrefix; ++i)
    value |= std::to_integer<std::uint64_t>(bytes[i]) << (8 * i);
  return value;
}

// The parser keeps the last of equal keys, so they are watched while it reads. Depth: the header, a
// tensor's object, a list in it.
nlohmann::json parse_header(std::string_view text, const std::string& where) {
  constexpr int kDepth = 3;
  std::vector<std::set<std::string>> keys;
  const auto watch = [&](int depth, nlohmann::json::parse_event_t event, nlohmann::json& value) {
    using Event = nlohmann::json::parse_event_t;
    if (depth > kDepth) reject(where, "its header is nested too deeply");
    if (event == Event::object_start) {
      keys.emplace_back();
    } else if (event == Event::object_end) {
      keys.pop_back();
    } else if (event == Event::key) {
      const auto& key = value.get_ref<const std::string&>();
      if (!keys.back().insert(key).second)
        reject(where, fmt::format("{} is in its header twice", shown(key)));
    }
    return true;
  };
  try {
    return nlohmann::json::parse(text.begin(), text.end(), watch);
  } catch (const nlohmann::json::parse_error& error) {
    reject(where, fmt::format("its header is no JSON at byte {}", error.byte));
  } catch (const nlohmann::json::exception&) {
    reject(where, "its header is no JSON");
  }
}

std::vector<std::uint64_t> numbers(const nlohmann::json& list, const std::string& field,
                                   const std::string& where) {
  std::vector<std::uint64_t> values;
  bool sound = list.is_array();
  if (sound)
    for (const auto& value : list) {
      sound = sound && value.is_number_unsigned();
      if (sound) values.push_back(value.get<std::uint64_t>());
    }
  if (!sound) reject(where, field + " is no list of whole numbers");
  return values;
}

SafetensorsEntry parse_entry(const std::string& name, const nlohmann::json& json,
                             std::uint64_t available, const std::string& where) {
  if (!is_plain_utf8(name))
    reject(where, fmt::format("the name {} holds control characters", shown(name)));
  const std::string tensor = "tensor " + shown(name);
  const auto field = [&](const char* key) -> const nlohmann::json& {
    const auto found = json.is_object() ? json.find(key) : json.end();
    if (!json.is_object() || found == json.end())
      reject(where, fmt::format("{} has no {}", tensor, key));
    return *found;
  };
  SafetensorsEntry entry;
  if (!field("dtype").is_string()) reject(where, tensor + ": its dtype is no text");
  entry.type = field("dtype").get<std::string>();
  const Type* type = find_type(entry.type);
  if (type == nullptr)
    reject(where, fmt::format("{} has the unknown dtype {}", tensor, shown(entry.type)));
  entry.shape = numbers(field("shape"), tensor + ": its shape", where);
  const auto offsets = numbers(field("data_offsets"), tensor + ": its data_offsets", where);
  if (offsets.size() != 2) reject(where, tensor + ": its data_offsets are not two");
  entry.begin = offsets[0];
  entry.end = offsets[1];
  if (entry.begin > entry.end || entry.end > available)
    reject(where, fmt::format("{} lies at {} to {} of {} bytes of data", tensor, entry.begin,
                              entry.end, available));
  std::uint64_t bytes = type->size;
  for (const std::uint64_t extent : entry.shape) {
    if (extent != 0 && bytes > std::numeric_limits<std::uint64_t>::max() / extent)
      reject(where, fmt::format("{}: the product of its shape overflows", tensor));
    bytes *= extent;
  }
  if (bytes != entry.end - entry.begin)
    reject(where,
           fmt::format("{}: {} of shape [{}] is {} bytes, its data_offsets span {}", tensor,
                       entry.type, fmt::join(entry.shape, ", "), bytes, entry.end - entry.begin));
  return entry;
}

void check_cover(const std::map<std::string, SafetensorsEntry>& entries, std::uint64_t available,
                 const std::string& where) {
  std::vector<const std::pair<const std::string, SafetensorsEntry>*> order;
  order.reserve(entries.size());
  for (const auto& each : entries) order.push_back(&each);
  std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return std::pair(a->second.begin, a->second.end) < std::pair(b->second.begin, b->second.end);
  });
  std::uint64_t next = 0;
  for (const auto* each : order) {
    if (each->second.begin != next)
      reject(where, fmt::format("tensor {} begins at byte {} of the data, the one before ends at "
                                "{}: an {}",
                                shown(each->first), each->second.begin, next,
                                each->second.begin < next ? "overlap" : "unused gap"));
    next = each->second.end;
  }
  if (next != available)
    reject(where, fmt::format("its tensors end at byte {} of {} bytes of data", next, available));
}

}  // namespace

SafetensorsFile::SafetensorsFile(std::vector<std::byte> bytes, std::string where)
    : bytes_(std::move(bytes)), where_(std::move(where)) {
  parse(bytes_.size());
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path)
    : file_(std::in_place, path), where_(path.string()) {
  verified_ = std::make_shared<const VerifiedFile>(*file_);
  require_of_section(path, verified_->seal);
  parse(verified_->seal.size);
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path,
                                 std::shared_ptr<const VerifiedFile> verified)
    : file_(std::in_place, path), verified_(std::move(verified)), where_(path.string()) {
  parse(verified_->seal.size);
}

void SafetensorsFile::read(std::uint64_t offset, std::span<std::byte> into) const {
  if (file_)
    verified_->checksums.read(*file_, offset, into);
  else
    std::ranges::copy(std::span(bytes_).subspan(offset, into.size()), into.begin());
}

void SafetensorsFile::parse(std::uint64_t size) {
  if (size < kPrefix) reject(where_, fmt::format("{} bytes are too few for a header", size));
  std::array<std::byte, kPrefix> prefix{};
  read(0, prefix);
  constexpr std::string_view kZip = "PK\x03\x04";
  if (std::memcmp(prefix.data(), kZip.data(), kZip.size()) == 0)
    throw DataError(
        fmt::format("{}: is a zip archive, as torch.save and torch.jit.save write it: "
                    "save the weights by safetensors.torch.save_file",
                    where_));
  const std::uint64_t length = little_endian(prefix);
  if (length > kSafetensorsHeaderLimit)
    reject(where_, fmt::format("a header of {} bytes, at most {} are allowed", length,
                               kSafetensorsHeaderLimit));
  if (length > size - kPrefix)
    reject(where_, fmt::format("a header of {} bytes in a file of {}", length, size));
  data_ = kPrefix + length;
  std::string text(length, '\0');
  read(kPrefix, std::as_writable_bytes(std::span(text)));
  if (!text.starts_with('{')) reject(where_, "its header does not begin with {");
  const nlohmann::json header = parse_header(text, where_);
  const std::uint64_t available = size - data_;
  for (const auto& [name, value] : header.items()) {
    if (name != kMetadata) {
      entries_.emplace(name, parse_entry(name, value, available, where_));
      continue;
    }
    if (!value.is_object()) reject(where_, "its __metadata__ is no object");
    for (const auto& [key, word] : value.items()) {
      if (!word.is_string()) reject(where_, "its __metadata__ holds other values than texts");
      metadata_.emplace(key, word.get<std::string>());
    }
  }
  check_cover(entries_, available, where_);
}

const SafetensorsEntry& SafetensorsFile::entry(const std::string& name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end())
    throw core::InternalError(fmt::format("{}: has no tensor {}", where_, name));
  return found->second;
}

std::vector<std::byte> SafetensorsFile::bytes(const std::string& name) const {
  const SafetensorsEntry& found = entry(name);
  std::vector<std::byte> bytes(found.end - found.begin);
  read(data_ + found.begin, bytes);
  return bytes;
}

Tensor SafetensorsFile::as_f32(const std::string& name) const {
  const SafetensorsEntry& found = entry(name);
  const std::uint64_t count = (found.end - found.begin) / find_type(found.type)->size;
  Tensor tensor{DType::f32, found.shape, std::vector<std::byte>(count * sizeof(float))};
  read_f32(name, 0, {reinterpret_cast<float*>(tensor.bytes.data()), count});
  return tensor;
}

void SafetensorsFile::read_f32(const std::string& name, std::uint64_t first,
                               std::span<float> into) const {
  const SafetensorsEntry& found = entry(name);
  const std::uint64_t size = find_type(found.type)->size;
  if (found.type != "F32" && found.type != "F16" && found.type != "BF16" && found.type != "F64")
    throw DataError(
        fmt::format("{}: tensor {} is {}, no floating point that can be read as fp32: "
                    "save it as F32, F16, BF16 or F64",
                    where_, shown(name), found.type));
  if (found.type == "F32") {
    read(data_ + found.begin + first * size, std::as_writable_bytes(into));
    return;
  }
  constexpr std::uint64_t kPiece = 1 << 18;  // elements
  std::vector<std::byte> piece;
  const auto each = [&]<class Bits>(Bits, std::span<float> values, auto convert) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      Bits bits;
      std::memcpy(&bits, piece.data() + i * sizeof bits, sizeof bits);
      values[i] = convert(bits);
    }
  };
  for (std::uint64_t done = 0; done < into.size();) {
    const auto values = into.subspan(done, std::min<std::uint64_t>(kPiece, into.size() - done));
    piece.resize(values.size() * size);
    read(data_ + found.begin + (first + done) * size, piece);
    if (found.type == "F16") {
      floats_from_halves(std::span<const std::byte>(piece), values);
    } else if (found.type == "BF16") {
      each(std::uint16_t{0}, values, [](std::uint16_t bits) {
        return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
      });
    } else {
      each(0.0, values, [](double value) { return static_cast<float>(value); });
    }
    done += values.size();
  }
}

FileSeal write_safetensors(const std::filesystem::path& path, const TensorSource& source,
                           const std::map<std::string, std::string>& metadata) {
  const auto rank = [](const TensorSpec& tensor) {
    return std::find_if(kTypes.begin(), kTypes.end(),
                        [&](const Type& type) { return type.dtype == tensor.type; }) -
           kTypes.begin();
  };
  std::vector<const std::pair<const std::string, TensorSpec>*> order;
  order.reserve(source.specs.size());
  for (const auto& each : source.specs) order.push_back(&each);
  std::stable_sort(order.begin(), order.end(),
                   [&](const auto* a, const auto* b) { return rank(a->second) > rank(b->second); });
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header[std::string(kMetadata)] = metadata;
  std::uint64_t next = 0;
  for (const auto* each : order) {
    const auto& [name, tensor] = *each;
    if (name == kMetadata)
      throw core::InternalError(fmt::format("{}: tensor {} cannot be written: its name is taken",
                                            path.string(), shown(name)));
    const std::uint64_t end = next + tensor.bytes();
    header[name] = {{"dtype", kTypes[static_cast<std::size_t>(rank(tensor))].name},
                    {"shape", tensor.shape},
                    {"data_offsets", {next, end}}};
    next = end;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  if (text.size() > kSafetensorsHeaderLimit)
    throw DataError(fmt::format("{}: a header of {} bytes, at most {} are allowed", path.string(),
                                text.size(), kSafetensorsHeaderLimit));
  std::array<std::byte, kPrefix> prefix{};
  for (std::size_t i = 0; i < kPrefix; ++i)
    prefix[i] = static_cast<std::byte>(text.size() >> (8 * i) & 0xFF);
  AtomicFile file(path);
  file.write(prefix);
  file.write(text);
  constexpr std::uint64_t kPiece = std::uint64_t{16} << 20;
  std::vector<std::byte> piece;
  for (const auto* each : order) {
    const auto& [name, tensor] = *each;
    const std::uint64_t bytes = tensor.bytes();
    for (std::uint64_t at = 0; at < bytes; at += piece.size()) {
      piece.resize(std::min(kPiece, bytes - at));
      source.read(name, at / size_of(tensor.type), piece);
      file.write(piece);
    }
  }
  return file.commit();
}

FileSeal write_safetensors(const std::filesystem::path& path, const TensorMap& tensors,
                           const std::map<std::string, std::string>& metadata) {
  for (const auto& [name, tensor] : tensors)
    if (tensor.bytes.size() != TensorSpec{tensor.type, tensor.shape}.bytes())
      throw core::InternalError(
          fmt::format("{}: tensor {} cannot be written: its bytes are not those of its shape",
                      path.string(), shown(name)));
  return write_safetensors(path, source_of(tensors), metadata);
}

bool is_batch_counter(std::string_view name) {
  constexpr std::string_view kCounter = "num_batches_tracked";
  return name == kCounter || name.ends_with(".num_batches_tracked");
}

}  // namespace retort::io
