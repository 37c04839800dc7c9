#include "io/sources/text_lines.h"

#include <algorithm>
#include <span>

#include <fmt/format.h>

#include "core/error.h"

namespace retort::io {
namespace {

constexpr std::size_t kPiece = std::size_t{1} << 20;

}  // namespace

std::size_t text_begins(std::string_view head, const std::string& path) {
  using namespace std::string_view_literals;
  if (head.starts_with("\xEF\xBB\xBF"sv)) return 3;
  if (head.starts_with("\xFF\xFE"sv) || head.starts_with("\xFE\xFF"sv))
    throw core::DataError(
        fmt::format("{}: the file is UTF-16 or UTF-32; make it UTF-8 (iconv -t UTF-8)", path));
  for (const auto& [magic, name] :
       {std::pair{"\x1F\x8B"sv, "gzip"}, std::pair{"\xFD\x37zXZ"sv, "xz"},
        std::pair{"\x28\xB5\x2F\xFD"sv, "zstd"}, std::pair{"PK\x03\x04"sv, "zip"}})
    if (head.starts_with(magic))
      throw core::DataError(
          fmt::format("{}: the file is compressed ({}); unpack it first", path, name));
  return 0;
}

LineReader::LineReader(const std::filesystem::path& path) : file_(path) {
  fill();
  at_ = text_begins(buffer_, path.string());
}

bool LineReader::fill() {
  const std::uint64_t bytes = std::min<std::uint64_t>(kPiece, file_.size() - read_);
  if (bytes == 0) return false;
  buffer_.erase(0, at_);
  begin_ += at_;
  at_ = 0;
  const std::size_t old = buffer_.size();
  buffer_.resize(old + bytes);
  const std::span<char> piece(buffer_.data() + old, bytes);
  file_.read(read_, std::as_writable_bytes(piece));
  hash_.update(std::as_bytes(piece));
  read_ += bytes;
  return true;
}

bool LineReader::next(Line& line) {
  std::size_t searched = 0, end = std::string::npos;
  while ((end = buffer_.find('\n', at_ + searched)) == std::string::npos) {
    searched = buffer_.size() - at_;
    if (searched > kMaxTextBytes)
      throw core::DataError(fmt::format("{}:{}: the line has more than {} bytes",
                                        file_.path().string(), number_ + 1, kMaxTextBytes));
    if (fill()) continue;
    if (searched == 0) return false;
    end = buffer_.size();
    break;
  }
  line.offset = begin_ + at_;
  line.number = ++number_;
  line.text = std::string_view(buffer_).substr(at_, end - at_);
  if (line.text.ends_with('\r')) line.text.remove_suffix(1);
  at_ = std::min(end + 1, buffer_.size());
  return true;
}

FileSeal LineReader::seal() { return {file_.size(), hash_.hex()}; }

}  // namespace retort::io
