// Hashes: SHA-256 (libcrypto) for contents and recipes, CRC32C for rows.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace retort::core {

/// Incremental SHA-256.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;
  Sha256& update(std::span<const std::byte> bytes);
  Sha256& update(std::string_view text);
  /// Little-endian, fixed width: keeps fields of a digest apart.
  Sha256& update_u64(std::uint64_t value);
  /// 64 lower-case hex digits. The object is spent.
  std::string hex();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string sha256_hex(std::span<const std::byte> bytes);
std::string sha256_hex(std::string_view text);
/// CRC-32C (Castagnoli), SSE4.2 where present, the same value everywhere. `seed`: CRC so far.
std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t seed = 0);
/// The same without special instructions (slicing by eight): what crc32c() falls back on.
std::uint32_t crc32c_portable(std::span<const std::byte> bytes, std::uint32_t seed = 0);

}  // namespace retort::core
