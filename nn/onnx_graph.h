// An ONNX graph while it is put together: nodes that refer to a model's tensors by their names. The
// one place that knows the ONNX library; operators are those of opset 13.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "io/tensor_file.h"

namespace retort::nn {

inline constexpr int kOnnxOpset = 13;

/// An attribute of a node.
struct OnnxAttribute {
  std::string name;
  std::variant<std::int64_t, std::vector<std::int64_t>> value;
};

/// Values are named by text; every function returns the name of what it adds. The batch, and the
/// length of texts, are free dimensions.
class OnnxGraph {
 public:
  /// `tensors` outlive the graph; all are fp32. A name that they do not have is an InternalError.
  explicit OnnxGraph(const io::TensorMap& tensors);
  ~OnnxGraph();
  OnnxGraph(const OnnxGraph&) = delete;
  OnnxGraph& operator=(const OnnxGraph&) = delete;

  bool has(const std::string& tensor) const;
  const std::vector<std::uint64_t>& shape(const std::string& tensor) const;

  /// The input "pixels", fp32 [n, channels, height, width].
  std::string pixels(std::int64_t channels, std::int64_t height, std::int64_t width);
  /// The input "ids", int64 [n, length], filled up with -1.
  std::string ids();
  /// A tensor of the model, in its own shape or another of the same size.
  std::string tensor(const std::string& name);
  std::string tensor(const std::string& name, const std::vector<std::int64_t>& shape);
  /// Constants: int64 [n], fp32 [] and int64 [].
  std::string integers(const std::vector<std::int64_t>& values);
  std::string integer(std::int64_t value);
  std::string real(float value);
  std::string node(const std::string& operation, const std::vector<std::string>& inputs,
                   const std::vector<OnnxAttribute>& attributes = {});
  /// node() whose last attribute is the element type fp32: Cast.
  std::string to_fp32(const std::string& input);

  // Layers by the names of their tensors, as nn/models/layered_model.h has them.
  /// Square kernel, padding kernel / 2.
  std::string conv(const std::string& name, const std::string& x, std::int64_t stride);
  /// Inference form, from running statistics, epsilon 1e-5.
  std::string batch_norm(const std::string& name, const std::string& x);
  std::string linear(const std::string& name, const std::string& x);
  std::string relu(const std::string& x);
  /// [n, channels, height, width] -> [n, channels].
  std::string average_pool(const std::string& x);

  /// The bytes of the file, with `logits`, [n, classes], as its output, under that name; equal
  /// graphs give equal bytes. `class_names` go into the metadata as a JSON list. DataError above
  /// 2 GiB, which the format does not allow.
  std::string finish(const std::string& logits, const std::string& model,
                     const std::vector<std::string>& class_names);

 private:
  struct State;
  std::string constant(const std::string& name, int type, const std::vector<std::int64_t>& shape,
                       const void* bytes, std::size_t size);
  std::unique_ptr<State> state_;
};

}  // namespace retort::nn
