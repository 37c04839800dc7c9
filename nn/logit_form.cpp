#include "nn/logit_form.h"

#include <cmath>

#include <ATen/ops/clamp_min.h>
#include <ATen/ops/norm.h>
#include <fmt/format.h>

#include "core/error.h"

namespace retort::nn {

void LogitForm::declare(core::OptionTable& table) {
  table.add_choice<LogitKind>(
      "logit-form", &kind, {{"linear", LogitKind::linear}, {"cosine", LogitKind::cosine}},
      "What the last layer makes of an embedding and a class's weights: their product, or the "
      "cosine between them times --logit-scale, as face recognisers have it");
  table.only_with("logit-form", "cosine", [&] {
    table.add("logit-scale", &scale, "Length that embeddings are given, above 0");
  });
}

bool LogitForm::declares(std::string_view option) {
  return option == "logit-form" || option == "logit-scale";
}

void LogitForm::validate() const {
  if (!(scale > 0) || !std::isfinite(scale))
    throw core::UsageError(fmt::format("--logit-scale {}: must be above 0", scale));
}

at::Tensor unit_rows(const at::Tensor& rows) {
  return rows / at::norm(rows, 2, {1}, true).clamp_min(kLeastLength);
}

}  // namespace retort::nn
