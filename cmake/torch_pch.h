// Precompiled for nn and stages: the widely used part of ATen, not torch/torch.h.
#include <ATen/ATen.h>
#include <nlohmann/json.hpp>
