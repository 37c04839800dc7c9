// Which characters become classes: the best covered ones, one per group of look-alikes that fonts
// draw with the same picture.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace retort::io {

/// The pictures of one character: one hash per font of the list that has it.
struct CharacterCoverage {
  char32_t character = 0;
  struct Picture {
    std::uint32_t font = 0;  // index in the list
    std::uint64_t hash = 0;  // of the clean picture
  };
  std::vector<Picture> pictures;  // by font
};

struct ClassChoice {
  std::vector<char32_t> characters;  // ascending
  std::uint64_t candidates = 0;      // that had enough pictures
  std::uint64_t merged = 0;          // left out as identical to a chosen one
};

/// `needed` distinct pictures in the fonts below `training_fonts` make a candidate. Candidates are
/// taken by number of fonts (then by code point), `count` of them; one that has the same picture as
/// a chosen one in at least half of the fonts that have both is left out. Pure.
ClassChoice choose_characters(const std::vector<CharacterCoverage>& coverage,
                              std::uint32_t training_fonts, std::uint64_t needed,
                              std::uint64_t count);

std::string utf8(char32_t character);
/// "U+00E9 é": the name of a class.
std::string character_name(char32_t character);

}  // namespace retort::io
