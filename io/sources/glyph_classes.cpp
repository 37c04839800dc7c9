#include "io/sources/glyph_classes.h"

#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>

#include <fmt/format.h>

namespace retort::io {
namespace {

std::uint64_t shared_fonts(const CharacterCoverage& a, const CharacterCoverage& b) {
  std::uint64_t shared = 0;
  auto i = a.pictures.begin();
  auto j = b.pictures.begin();
  while (i != a.pictures.end() && j != b.pictures.end()) {
    if (i->font == j->font)
      ++shared, ++i, ++j;
    else if (i->font < j->font)
      ++i;
    else
      ++j;
  }
  return shared;
}

std::uint64_t distinct_pictures(const CharacterCoverage& coverage, std::uint32_t training_fonts) {
  std::set<std::uint64_t> hashes;
  for (const auto& picture : coverage.pictures)
    if (picture.font < training_fonts) hashes.insert(picture.hash);
  return hashes.size();
}

// Chosen characters by the pictures they have, to find look-alikes without comparing all pairs.
class ChosenPictures {
 public:
  void add(const CharacterCoverage& coverage) {
    for (const auto& picture : coverage.pictures) by_picture_[key(picture)].push_back(&coverage);
  }
  bool has_twin_of(const CharacterCoverage& coverage) const {
    std::map<const CharacterCoverage*, std::uint64_t> equal;
    for (const auto& picture : coverage.pictures)
      if (const auto found = by_picture_.find(key(picture)); found != by_picture_.end())
        for (const CharacterCoverage* other : found->second) ++equal[other];
    return std::any_of(equal.begin(), equal.end(), [&](const auto& entry) {
      return 2 * entry.second >= shared_fonts(coverage, *entry.first);
    });
  }

 private:
  static std::uint64_t key(const CharacterCoverage::Picture& picture) {
    return picture.hash ^ (picture.font + 1) * 0x9E3779B97F4A7C15u;
  }
  std::unordered_map<std::uint64_t, std::vector<const CharacterCoverage*>> by_picture_;
};

}  // namespace

ClassChoice choose_characters(const std::vector<CharacterCoverage>& coverage,
                              std::uint32_t training_fonts, std::uint64_t needed,
                              std::uint64_t count) {
  ClassChoice choice;
  std::vector<const CharacterCoverage*> candidates;
  for (const auto& one : coverage)
    if (distinct_pictures(one, training_fonts) >= std::max<std::uint64_t>(needed, 1))
      candidates.push_back(&one);
  choice.candidates = candidates.size();
  std::sort(candidates.begin(), candidates.end(), [](const auto* a, const auto* b) {
    if (a->pictures.size() != b->pictures.size()) return a->pictures.size() > b->pictures.size();
    return a->character < b->character;
  });
  ChosenPictures chosen;
  for (const CharacterCoverage* candidate : candidates) {
    if (choice.characters.size() == count) break;
    if (chosen.has_twin_of(*candidate)) {
      ++choice.merged;
      continue;
    }
    chosen.add(*candidate);
    choice.characters.push_back(candidate->character);
  }
  std::sort(choice.characters.begin(), choice.characters.end());
  return choice;
}

std::string utf8(char32_t c) {
  std::string text;
  const auto tail = [&](int shift) { text += static_cast<char>(0x80 | ((c >> shift) & 0x3F)); };
  if (c < 0x80) {
    text += static_cast<char>(c);
  } else if (c < 0x800) {
    text += static_cast<char>(0xC0 | c >> 6);
    tail(0);
  } else if (c < 0x10000) {
    text += static_cast<char>(0xE0 | c >> 12);
    tail(6), tail(0);
  } else {
    text += static_cast<char>(0xF0 | c >> 18);
    tail(12), tail(6), tail(0);
  }
  return text;
}

std::string character_name(char32_t character) {
  return fmt::format("U+{:04X} {}", static_cast<std::uint32_t>(character), utf8(character));
}

}  // namespace retort::io
