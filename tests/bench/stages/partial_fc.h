// What Retort's class-sharded head is measured against: partial FC (An et al., ICCV-W 2021) in
// plain torch operations. Each rank holds the weights of its classes; embeddings are gathered; full
// logits of the rank's classes; softmax over ranks by all-reduced maximum and sum; dense one-hot
// targets; gradients by autograd; the optimiser passes over all rows. CosFace margin.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>

#include "comm/communicator.h"
#include "core/random.h"
#include "core/range.h"

namespace retort::bench {

struct HeadProblem {
  std::uint64_t classes = 0, features = 0, batch = 0;  // batch: of a rank
  double rate = 1;
};
inline constexpr double kMarginScale = 64, kMarginCosine = 0.4, kMomentum = 0.9,
                        kWeightDecay = 5e-4, kLearningRate = 0.1;

/// One message per rank, as rows of a tensor.
inline at::Tensor gather_rows(comm::Communicator& world, const at::Tensor& own) {
  const at::Tensor flat = own.contiguous();
  const auto bytes = static_cast<std::size_t>(flat.numel()) * flat.element_size();
  std::vector<at::Tensor> parts;
  for (const std::string& text :
       world.all_gather(std::string(static_cast<const char*>(flat.data_ptr()), bytes))) {
    at::Tensor part = at::empty_like(flat);
    std::memcpy(part.data_ptr(), text.data(), bytes);
    parts.push_back(part);
  }
  return at::cat(parts, 0);
}

class PartialFc {
 public:
  PartialFc(comm::Communicator& world, const HeadProblem& problem, core::Range own,
            const at::Tensor& weight)
      : world_(world),
        problem_(problem),
        own_(own),
        weight_(weight.detach().requires_grad_(true)),
        momentum_(at::zeros_like(weight)) {}

  at::Tensor weight() const { return weight_.detach(); }

  /// The gradient on this rank's embeddings, [batch, features]; `sample`: rows of the weight,
  /// int64, ascending, or undefined for all. Updates the weights. `loss`: mean over all ranks'
  /// rows.
  at::Tensor step(const at::Tensor& own_embeddings, const at::Tensor& own_labels,
                  const at::Tensor& sample, double& loss) {
    const at::Tensor embeddings = gather_rows(world_, own_embeddings).requires_grad_(true);
    const at::Tensor labels = gather_rows(world_, own_labels);
    // Labels of other ranks' classes are -1; the others are rows of this rank's (sampled) weight.
    const auto begin = static_cast<std::int64_t>(own_.begin);
    const at::Tensor mine =
        (labels.ge(begin)).logical_and(labels.lt(static_cast<std::int64_t>(own_.end)));
    at::Tensor local = at::where(mine, labels - begin, -1);
    at::Tensor weight = weight_;
    if (sample.defined()) {
      draw(local);
      weight = weight_.index_select(0, sample);
      local = at::where(mine, at::searchsorted(sample, local.clamp_min(0)), -1);
    }
    const at::Tensor logits = at::linear(normalised(embeddings), normalised(weight)).clamp(-1, 1);
    at::Tensor scaled = logits.detach().clone();
    const at::Tensor rows = mine.nonzero().squeeze(1);
    const at::Tensor columns = local.index_select(0, rows);
    scaled.index_put_({rows, columns}, scaled.index({rows, columns}) - kMarginCosine);
    scaled.mul_(kMarginScale);
    // Softmax over all ranks' classes.
    const at::Tensor highest =
        gather_rows(world_, std::get<0>(scaled.max(1)).unsqueeze(0)).amax(0).unsqueeze(1);
    scaled.sub_(highest).exp_();
    const at::Tensor sum = gather_rows(world_, scaled.sum(1).unsqueeze(0)).sum(0).unsqueeze(1);
    scaled.div_(sum);
    at::Tensor own_probability = at::zeros({embeddings.size(0)});
    own_probability.index_put_({rows}, scaled.index({rows, columns}));
    loss = -gather_rows(world_, own_probability.unsqueeze(0))
                .sum(0)
                .clamp_min(1e-30)
                .log()
                .mean()
                .item<double>();
    const at::Tensor one_hot = at::zeros_like(scaled);
    one_hot.index_put_({rows, columns}, at::ones({rows.size(0)}));
    scaled.sub_(one_hot).div_(static_cast<double>(embeddings.size(0))).mul_(kMarginScale);
    const auto gradients = torch::autograd::grad({logits}, {embeddings, weight_}, {scaled});
    c10::AutoGradMode without_gradients(false);
    // torch.optim.SGD.
    const at::Tensor gradient = gradients[1].add(weight_, kWeightDecay);
    momentum_.mul_(kMomentum).add_(gradient);
    weight_.sub_(momentum_, kLearningRate);
    const at::Tensor all = gather_rows(world_, gradients[0].unsqueeze(0)).sum(0);
    return all.narrow(0, world_.rank() * own_embeddings.size(0), own_embeddings.size(0));
  }

 private:
  static at::Tensor normalised(const at::Tensor& rows) {
    return rows / rows.norm(2, {1}, true).clamp_min(1e-12).expand_as(rows);
  }
  /// What drawing classes costs there; those that count are handed in, to compare results.
  void draw(const at::Tensor& local) const {
    at::Tensor chance = at::rand({weight_.size(0)});
    chance.index_put_({std::get<0>(at::_unique(local.clamp_min(0)))}, at::tensor(2.0F));
    const auto count = static_cast<std::int64_t>(problem_.rate * static_cast<double>(own_.size()));
    drawn_ = std::get<0>(std::get<1>(chance.topk(count)).sort());
  }

  comm::Communicator& world_;
  HeadProblem problem_;
  core::Range own_;
  at::Tensor weight_, momentum_;
  mutable at::Tensor drawn_;
};

}  // namespace retort::bench
