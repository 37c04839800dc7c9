// What of a source's list is packed: which splits, which classes, with or without labels. Pure
// functions of the list.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "io/sources/source.h"

namespace retort::io {

/// What becomes of labels that are not in a list of classes.
enum class UnknownLabels {
  error,       // DataError naming the sample and the label
  drop,        // the sample is left out if none of its labels is known
  unlabelled,  // the sample is packed with those of its labels that are known, if any
};

/// Keeps the named splits, in the catalogue's order. UsageError naming `option` for one that is not
/// there or stands twice.
void keep_splits(Catalogue& catalogue, const std::vector<std::string>& names,
                 const std::string& option);

/// Takes away the classes that no sample has; nothing if they are chosen.
void drop_unused_classes(Catalogue& catalogue);

struct UnknownFound {
  std::uint64_t labels = 0;   // taken away
  std::uint64_t samples = 0;  // left out, or unlabelled now
  std::string first;          // "NAME: label 'X'"
};
/// Makes `names` the classes, in that order. `list`: what to call it in messages.
UnknownFound apply_classes(Catalogue& catalogue, const std::vector<std::string>& names,
                           UnknownLabels unknown, const std::string& list);

/// Takes the labels of the named splits away; the class list stays. "all": of every split.
/// UsageError as keep_splits().
void drop_labels(Catalogue& catalogue, const std::vector<std::string>& splits,
                 const std::string& option);

}  // namespace retort::io
