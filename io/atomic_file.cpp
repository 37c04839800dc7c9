#include "io/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <random>
#include <regex>
#include <utility>

#include <fmt/format.h>

#include "core/error.h"
#include "core/fault_point.h"
#include "core/hash.h"
#include "io/live_claim.h"
#include "io/posix.h"

namespace retort::io {
namespace {

// One write(2) moves at most 2 GiB; pieces also let the hash run over bytes that are still cached.
constexpr std::size_t kPiece = std::size_t{8} << 20;

// Hosts and process ids say less: containers on two hosts can agree in both.
std::string temporary_suffix() {
  static const std::uint32_t word = std::random_device()();
  return fmt::format(".{:08x}-{}.tmp", word, ::getpid());
}

}  // namespace

void require_no_folder(const std::filesystem::path& path, std::string_view option) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error))
    throw core::UsageError(fmt::format("{} {}: is a folder; name a file", option, path.string()));
}

std::filesystem::path temporary_of(const std::filesystem::path& path) {
  std::filesystem::path temporary = path;
  temporary += temporary_suffix();
  return temporary;
}

bool is_temporary(const std::filesystem::path& path) {
  static const std::regex kName(R"(.*\.[0-9a-f]{8}-[0-9]+\.tmp)");
  return std::regex_match(path.filename().string(), kName);
}

void remove_temporaries(const std::filesystem::path& folder) {
  namespace fs = std::filesystem;
  const std::string own = temporary_suffix();
  std::vector<fs::path> found;
  std::error_code error;
  for (auto entry = fs::recursive_directory_iterator(folder, error);
       !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
    // A folder with a start of its own is not ours to clear.
    std::error_code ignored;
    if (fs::exists(entry->path() / "lock", ignored)) entry.disable_recursion_pending();
    if (is_temporary(entry->path()) && !entry->path().string().ends_with(own))
      found.push_back(entry->path());
  }
  for (const fs::path& path : found) ::unlink(path.c_str());
}

struct AtomicFile::State {
  std::filesystem::path path;
  std::filesystem::path temporary;
  bool stream = false;  // a pipe or a device: there is nothing to rename, and not always to sync
  Descriptor descriptor;
  core::Sha256 hash;
  std::uint64_t size = 0;

  void pass(std::string_view point, std::string_view what) const {
    pass_fault_point(point, what, temporary);
  }

  void discard() const {
    if (!stream) ::unlink(temporary.c_str());
  }

  void write_piece(std::span<const std::byte> bytes) {
    hash.update(bytes);
    size += bytes.size();
    std::vector<std::byte> flipped;
    while (!bytes.empty()) {
      const core::FaultAction action = core::fault_point("atomic-write", temporary);
      std::size_t wanted = bytes.size();
      if (action == core::FaultAction::error_eio) throw_io_error("write", temporary, EIO);
      if (action == core::FaultAction::error_enospc) throw_io_error("write", temporary, ENOSPC);
      if (action == core::FaultAction::short_write) wanted = (wanted + 1) / 2;
      if (action ==
          core::FaultAction::flip_bit) {  // bytes that go bad behind our back: the hash is right
        flipped.assign(bytes.begin(), bytes.end());
        flipped[flipped.size() / 2] ^= std::byte{1};
        bytes = flipped;
      }
      const ssize_t written = ::write(descriptor.get(), bytes.data(), wanted);
      if (written < 0) {
        if (errno == EINTR) continue;
        throw_io_error("write", temporary, errno);
      }
      bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
  }
};

AtomicFile::AtomicFile(std::filesystem::path path) {
  auto state = std::make_unique<State>();
  namespace fs = std::filesystem;
  std::error_code error;
  if (fs::is_symlink(path, error))
    if (fs::path target = fs::canonical(path, error); !error) path = std::move(target);
  state->stream = fs::exists(path, error) && !fs::is_regular_file(path, error) &&
                  !fs::is_directory(path, error);
  state->temporary = state->stream ? path : temporary_of(path);
  state->path = std::move(path);
  state->pass("atomic-open", "create");
  state->descriptor =
      open_descriptor(state->temporary, state->stream ? O_WRONLY : O_WRONLY | O_CREAT | O_TRUNC);
  if (!state->descriptor.valid()) throw_io_error("create", state->temporary, errno);
  state_ = std::move(state);
}

AtomicFile::~AtomicFile() {
  if (state_->descriptor.valid()) {
    state_->descriptor.reset();
    state_->discard();
  }
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  if (!state_->descriptor.valid()) {
    throw core::InternalError("write to " + state_->path.string() + " after its commit");
  }
  while (!bytes.empty()) {
    const std::size_t count = std::min(bytes.size(), kPiece);
    state_->write_piece(bytes.first(count));
    bytes = bytes.subspan(count);
  }
}

void AtomicFile::write(std::string_view text) { write(std::as_bytes(std::span(text))); }

FileSeal AtomicFile::commit() {
  State& state = *state_;
  if (!state.descriptor.valid()) {
    throw core::InternalError("second commit of " + state.path.string());
  }
  state.pass("atomic-fsync", "sync");
  int result = 0;
  do {
    result = ::fsync(state.descriptor.get());
  } while (result != 0 && errno == EINTR);
  if (result != 0 && !(state.stream && errno == EINVAL))
    throw_io_error("sync", state.temporary, errno);
  state.pass("atomic-rename", "rename");
  require_not_taken_over();
  // Network file systems report late errors at close; Linux has released the descriptor even then.
  if (::close(state.descriptor.release()) != 0 && errno != EINTR) {
    const int error = errno;
    state.discard();
    throw_io_error("close", state.temporary, error);
  }
  if (state.stream) return FileSeal{state.size, state.hash.hex()};
  if (::rename(state.temporary.c_str(), state.path.c_str()) != 0) {
    const int error = errno;
    ::unlink(state.temporary.c_str());
    throw_io_error("rename to", state.path, error);
  }
  sync_folder(state.path.parent_path());
  state.pass("atomic-committed", "commit");
  return FileSeal{state.size, state.hash.hex()};
}

FileSeal write_file(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  AtomicFile file(path);
  file.write(bytes);
  return file.commit();
}

FileSeal write_file(const std::filesystem::path& path, std::string_view text) {
  return write_file(path, std::as_bytes(std::span(text)));
}

std::vector<std::byte> read_file(const std::filesystem::path& path) {
  const RandomAccessFile file(path);
  std::vector<std::byte> bytes(file.size());
  file.read(0, bytes);
  return bytes;
}

std::vector<std::byte> read_verified(const std::filesystem::path& path, const FileSeal& seal) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (status.type() == std::filesystem::file_type::not_found) {
    throw core::DataError(path.string() + " is missing; restore it or make its folder anew");
  }
  const RandomAccessFile file(path);
  if (file.size() != seal.size) {
    throw core::DataError(path.string() + " has " + std::to_string(file.size()) + " bytes, not " +
                          std::to_string(seal.size) +
                          " as its manifest says; restore it or make its folder anew");
  }
  std::vector<std::byte> bytes(file.size());
  file.read(0, bytes);
  if (core::sha256_hex(bytes) != seal.sha256) {
    throw core::DataError(path.string() +
                          " has another SHA-256 than its manifest says; restore it or make its "
                          "folder anew");
  }
  return bytes;
}

FileSeal seal_of(const std::filesystem::path& path) {
  const RandomAccessFile file(path);
  FileSeal seal;
  seal.size = file.size();
  core::Sha256 hash;
  std::vector<std::byte> piece;
  for (std::uint64_t done = 0; done < seal.size; done += piece.size()) {
    piece.resize(static_cast<std::size_t>(std::min<std::uint64_t>(kPiece, seal.size - done)));
    file.read(done, piece);
    hash.update(piece);
  }
  seal.sha256 = hash.hex();
  return seal;
}

void make_folder(const std::filesystem::path& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) return;
  const std::filesystem::path parent = path.parent_path();
  if (!parent.empty() && parent != path) make_folder(parent);
  if (path.empty() || path.filename().empty()) return;  // "a/b/": the parent was all of it
  if (::mkdir(path.c_str(), 0777) != 0) {
    const int cause = errno;
    // Another rank may have been faster.
    if (cause == EEXIST && std::filesystem::is_directory(path, error)) return;
    throw_io_error("create folder", path, cause);
  }
  sync_folder(parent);
}

RandomAccessFile::RandomAccessFile(const std::filesystem::path& path) : path_(path) {
  Descriptor descriptor = open_descriptor(path, O_RDONLY);
  if (!descriptor.valid()) throw_io_error("open", path, errno);
  struct stat status {};
  if (::fstat(descriptor.get(), &status) != 0) throw_io_error("stat", path, errno);
  if (!S_ISREG(status.st_mode)) {
    throw core::IoError("cannot read " + path.string() + ": not a regular file; check the path");
  }
  descriptor_ = descriptor.release();
}

RandomAccessFile::~RandomAccessFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

RandomAccessFile::RandomAccessFile(RandomAccessFile&& other) noexcept
    : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)) {}

RandomAccessFile& RandomAccessFile::operator=(RandomAccessFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

void RandomAccessFile::read(std::uint64_t offset, std::span<std::byte> out) const {
  const std::uint64_t begin = offset;
  const std::size_t wanted = out.size();
  while (!out.empty()) {
    const ssize_t got = ::pread(descriptor_, out.data(), std::min(out.size(), std::size_t{1} << 30),
                                static_cast<off_t>(offset));
    if (got < 0) {
      if (errno == EINTR) continue;
      throw_io_error("read", path_, errno);
    }
    if (got == 0) {
      throw core::DataError(path_.string() + " ends at byte " + std::to_string(size()) +
                            " inside a read of " + std::to_string(wanted) + " bytes at byte " +
                            std::to_string(begin) + ": truncated; restore it or make it anew");
    }
    out = out.subspan(static_cast<std::size_t>(got));
    offset += static_cast<std::uint64_t>(got);
  }
}

std::uint64_t RandomAccessFile::size() const {
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0) throw_io_error("stat", path_, errno);
  return static_cast<std::uint64_t>(status.st_size);
}

}  // namespace retort::io
