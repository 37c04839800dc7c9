#include "io/sources/gzip.h"

#include <zlib.h>

#include <algorithm>

#include <fmt/format.h>

#include "core/error.h"
#include "io/atomic_file.h"

namespace retort::io {
namespace {

using core::DataError;

class Inflater {
 public:
  Inflater() {
    if (inflateInit2(&stream_, 15 + 16) != Z_OK)
      throw core::InternalError("zlib gives no decoder: out of memory?");
  }
  ~Inflater() { inflateEnd(&stream_); }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;
  z_stream& stream() { return stream_; }

 private:
  z_stream stream_{};
};

}  // namespace

std::vector<std::byte> read_maybe_gzip(const std::filesystem::path& path, std::uint64_t limit) {
  std::vector<std::byte> packed = read_file(path);
  const bool gzip =
      packed.size() >= 2 && packed[0] == std::byte{0x1f} && packed[1] == std::byte{0x8b};
  const auto too_long = [&] {
    return DataError(fmt::format("{}: holds more than the {} bytes allowed", path.string(), limit));
  };
  if (!gzip) {
    if (packed.size() > limit) throw too_long();
    return packed;
  }
  std::vector<std::byte> out;
  Inflater inflater;
  z_stream& stream = inflater.stream();
  std::size_t taken = 0;
  for (;;) {
    // zlib counts in 32 bits: feed and drain in pieces.
    const std::size_t piece = std::min<std::size_t>(packed.size() - taken, 1u << 30);
    stream.next_in = reinterpret_cast<Bytef*>(packed.data() + taken);
    stream.avail_in = static_cast<uInt>(piece);
    const std::size_t had = out.size();
    const std::size_t room = std::max<std::size_t>(1u << 20, std::min<std::size_t>(had, 1u << 28));
    out.resize(had + room);
    stream.next_out = reinterpret_cast<Bytef*>(out.data() + had);
    stream.avail_out = static_cast<uInt>(room);
    const int status = inflate(&stream, Z_NO_FLUSH);
    taken += piece - stream.avail_in;
    out.resize(had + room - stream.avail_out);
    if (out.size() > limit) throw too_long();
    if (status == Z_STREAM_END) {
      if (taken == packed.size()) return out;
      // Another gzip member may follow; anything else is damage, which inflate will say.
      if (inflateReset(&stream) != Z_OK) throw core::InternalError("zlib: reset failed");
      continue;
    }
    if (status == Z_BUF_ERROR || (status == Z_OK && taken == packed.size() && stream.avail_out))
      throw DataError(fmt::format("{}: truncated gzip file ({} bytes); fetch it again",
                                  path.string(), packed.size()));
    if (status != Z_OK)
      throw DataError(fmt::format("{}: damaged gzip file: {}; fetch it again", path.string(),
                                  stream.msg ? stream.msg : "bad data"));
  }
}

}  // namespace retort::io
