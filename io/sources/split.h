// Which sample goes to which split. Pure functions of the list and the seed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "io/sources/source.h"

namespace retort::io {

/// "train=0.8,test=0.2" (fractions of each class), "train=rest,test=2" (pictures of each class).
struct SplitPart {
  enum class Kind { fraction, count, rest };
  std::string name;
  Kind kind = Kind::rest;
  double fraction = 0;
  std::uint64_t count = 0;
};

/// UsageError: unknown form, a name twice or not of [a-z0-9_-], fractions that do not sum to 1,
/// counts without a rest.
std::vector<SplitPart> parse_split(const std::string& text);

/// Replaces the splits of the catalogue by `parts`, class by class: the samples of a class are
/// ordered by a draw keyed by (seed, RandomUse::split, class, index in the class), and cut; by
/// largest remainder for fractions. A class with too few samples for the counts stays whole in the
/// rest. Returns the number of such classes. Unlabelled samples are a class of their own, samples
/// of several labels belong to their first.
std::uint64_t apply_split(Catalogue& catalogue, const std::vector<SplitPart>& parts,
                          std::uint64_t seed);

/// "unlabelled=0.8,validation=5": fractions or pictures of each class, as a --split without a rest.
/// UsageError like parse_split().
std::vector<SplitPart> parse_carve(const std::string& text);

/// Carves `parts` (no rest among them) out of split "train", which keeps the rest, as apply_split()
/// cuts. UsageError naming `option` without a train split, or with a split of that name already
/// there. Returns the number of classes with too few samples.
std::uint64_t carve_splits(Catalogue& catalogue, const std::vector<SplitPart>& parts,
                           std::uint64_t seed, const std::string& option);

/// carve_splits() of one split "validation": below 1 a fraction, else pictures of each class.
std::uint64_t carve_validation(Catalogue& catalogue, double validation, std::uint64_t seed);

}  // namespace retort::io
