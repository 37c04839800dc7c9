#include "stages/head_placement.h"

namespace retort::stages {

core::Option& declare_training_head(core::OptionTable& table, HeadPlacement* head) {
  return table.add_choice<HeadPlacement>(
      "head", head,
      {{"whole", HeadPlacement::whole},
       {"chunked", HeadPlacement::chunked},
       {"sharded", HeadPlacement::sharded}},
      "The last linear layer: whole on every rank; whole, but its logits and the loss computed a "
      "few classes at a time and kept nowhere, for thousands of classes and up; or its classes "
      "divided among the ranks, too, for more than a rank can hold");
}

core::Option& declare_head(core::OptionTable& table, HeadPlacement* head) {
  return table.add_choice<HeadPlacement>(
      "head", head, {{"whole", HeadPlacement::whole}, {"sharded", HeadPlacement::sharded}},
      "The last linear layer: whole on every rank, or its classes divided among the ranks, its "
      "logits kept nowhere: for more classes than a rank can hold");
}

}  // namespace retort::stages
