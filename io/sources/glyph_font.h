// Characters of one font file as small grey pictures, rendered with FreeType without hinting.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace retort::io {

/// Raise when a rendered picture changes.
inline constexpr std::uint32_t kGlyphVersion = 1;

/// How a rendering departs from the clean one; all zero: clean.
struct GlyphVariant {
  double rotation = 0;              // radians, anticlockwise, about half the cap height
  double scale_x = 0, scale_y = 0;  // + fraction
  double shear = 0;                 // x += shear * y
  double shift_x = 0, shift_y = 0;  // fractions of the side, after centring
  double embolden = 0;              // stroke growth as a fraction of the side
  bool operator==(const GlyphVariant&) const = default;
};

/// A font file opened for one side length. One thread at a time.
class GlyphFont {
 public:
  /// DataError if FreeType cannot use the file or it has no Unicode map or no outlines.
  GlyphFont(const std::filesystem::path& path, std::uint32_t side);
  ~GlyphFont();
  GlyphFont(GlyphFont&&) noexcept;

  /// Code points with a glyph, ascending; without controls, separators, private use, selectors.
  std::vector<char32_t> characters() const;
  /// Renders into [side, side] u8, 255 = ink: ink centred in x, baseline at 0.3 of the side from
  /// below, cap height 0.46 of the side, shrunk about the baseline if it would not fit. False, with
  /// `out` zeroed, if the font has no such glyph or it is empty (no pixel reaches 24).
  bool render(char32_t character, const GlyphVariant& variant, std::span<std::uint8_t> out);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Font files (ttf, otf) below the given folders by file stem ("DejaVuSans-Bold"); the first in
/// path order wins. Folders that do not exist are skipped.
std::map<std::string, std::filesystem::path> find_fonts(
    const std::vector<std::filesystem::path>& folders);

}  // namespace retort::io
