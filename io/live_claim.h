// The claims that this process made on run folders and still lives by. Once another process has
// made a later one, this one is an orphan: nothing that it writes counts any more.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace retort::io {

/// The newest claim of a run folder that is later than start number `epoch`. IoError.
std::optional<std::uint32_t> later_claim(const std::filesystem::path& run, std::uint32_t epoch);
/// UsageError: start `other` came after start `epoch`.
[[noreturn]] void throw_taken_over(const std::filesystem::path& run, std::uint32_t other,
                                   std::uint32_t epoch);

/// As long as it exists, require_not_taken_over() looks at this claim. On every rank of a start.
class LiveClaim {
 public:
  LiveClaim(std::filesystem::path run, std::uint32_t epoch);
  ~LiveClaim();
  LiveClaim(const LiveClaim&) = delete;
  LiveClaim& operator=(const LiveClaim&) = delete;

 private:
  std::filesystem::path run_;
};

/// Whether another process claimed one of these folders later. Where claims cannot be seen now:
/// false.
bool is_taken_over();
/// UsageError if another process claimed one of these folders later. Each change of a file or a
/// folder that others may see asks first. Silent as above.
void require_not_taken_over();

}  // namespace retort::io
