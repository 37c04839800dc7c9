// An embedding table as a node of the graph: what the models for text begin with. On the CPU. The
// table's gradient comes out sparse, by the rows that the ids name (nn/backward.h).
#pragma once

#include <ATen/core/Tensor.h>

namespace retort::nn {

/// table [rows, dim] fp32, ids [total] and begin [n + 1] int64 as Input has them: [n, dim], the
/// mean over each text's rows (fastText: Joulin et al. 2017, section 2), zeros for a text without
/// ids. Differentiable in the table. InternalError for ids that the table does not have.
at::Tensor mean_embedding(const at::Tensor& table, const at::Tensor& ids, const at::Tensor& begin);

/// The same table and ids: [total, dim], a row for each id. Differentiable in the table.
at::Tensor embedding(const at::Tensor& table, const at::Tensor& ids, const at::Tensor& begin);

}  // namespace retort::nn
