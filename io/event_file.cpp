#include "io/event_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <span>

#include <fmt/format.h>

#include "core/error.h"
#include "core/hash.h"
#include "io/atomic_file.h"

namespace retort::io {
namespace {

static_assert(std::endian::native == std::endian::little, "protobuf's fixed fields");

constexpr std::size_t kFlushBytes = 64 << 10;

// Field numbers of tensorflow/core/util/event.proto and framework/summary.proto, with their wire
// types: tag byte = number << 3 | type.
constexpr char kEventWallTime = 1 << 3 | 1;
constexpr char kEventStep = 2 << 3 | 0;
constexpr char kEventFileVersion = 3 << 3 | 2;
constexpr char kEventSummary = 5 << 3 | 2;
constexpr char kSummaryValue = 1 << 3 | 2;
constexpr char kValueTag = 1 << 3 | 2;
constexpr char kValueSimple = 2 << 3 | 5;

template <class T>
void put_fixed(std::string& out, T value) {
  std::array<char, sizeof value> bytes;
  std::memcpy(bytes.data(), &value, sizeof value);
  out.append(bytes.data(), bytes.size());
}

void put_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

void put_bytes(std::string& out, char tag, std::string_view bytes) {
  out.push_back(tag);
  put_varint(out, bytes.size());
  out.append(bytes);
}

// TFRecord stores CRCs masked, so that the CRC of data that holds CRCs stays strong.
std::uint32_t masked_crc(std::string_view text) {
  const std::uint32_t crc = core::crc32c(std::as_bytes(std::span(text)));
  return std::rotr(crc, 15) + 0xa282ead8u;
}

double now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string host_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return "host";
  return name.data();
}

std::string event_now() {
  std::string event;
  event.push_back(kEventWallTime);
  put_fixed(event, now());
  return event;
}

}  // namespace

EventFile::EventFile(const std::filesystem::path& folder) {
  make_folder(folder);
  const std::string base =
      fmt::format("events.out.tfevents.{:010d}.{}.{}", static_cast<long long>(now()), host_name(),
                  static_cast<long>(::getpid()));
  // Two starts of one process within a second get names of their own.
  for (int n = 0; !file_.valid(); ++n) {
    path_ = folder / (n == 0 ? base : fmt::format("{}.{}", base, n));
    file_ =
        Descriptor(::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0666));
    if (!file_.valid() && errno != EEXIST) throw_io_error("create", path_, errno);
  }
  std::string event = event_now();
  put_bytes(event, kEventFileVersion, "brain.Event:2");
  record(event);
  flush();
}

EventFile::~EventFile() {
  try {
    flush();
  } catch (const core::Error&) {
    // A log's last lines; a destructor has nobody to tell.
  }
}

void EventFile::scalar(std::string_view tag, std::uint64_t step, double value) {
  std::string content;
  put_bytes(content, kValueTag, tag);
  content.push_back(kValueSimple);
  put_fixed(content, static_cast<float>(value));
  std::string summary;
  put_bytes(summary, kSummaryValue, content);
  std::string event = event_now();
  event.push_back(kEventStep);
  put_varint(event, step);
  put_bytes(event, kEventSummary, summary);
  record(event);
  if (pending_.size() >= kFlushBytes) flush();
}

void EventFile::record(const std::string& event) {
  std::string length;
  put_fixed(length, std::uint64_t{event.size()});
  pending_ += length;
  put_fixed(pending_, masked_crc(length));
  pending_ += event;
  put_fixed(pending_, masked_crc(event));
}

void EventFile::flush() {
  std::string_view rest = pending_;
  while (!rest.empty()) {
    const ssize_t written = ::write(file_.get(), rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      const int cause = errno;
      // What did go out must not go out again, or the records behind it would not parse.
      pending_.erase(0, pending_.size() - rest.size());
      throw_io_error("write", path_, cause);
    }
    rest.remove_prefix(static_cast<std::size_t>(written));
  }
  pending_.clear();
}

}  // namespace retort::io
