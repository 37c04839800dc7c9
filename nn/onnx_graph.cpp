#include "nn/onnx_graph.h"

#include <limits>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

// What Debian's library was built with; its header asks for both.
#define ONNX_NAMESPACE onnx
#define ONNX_ML 1
#include <onnx/onnx_pb.h>

#include "core/error.h"
#include "core/version.h"

namespace retort::nn {

struct OnnxGraph::State {
  const io::TensorMap& tensors;
  onnx::ModelProto model;
  std::set<std::string> initialisers;
  std::uint64_t nodes = 0, constants = 0;

  onnx::GraphProto& graph() { return *model.mutable_graph(); }
};

namespace {

constexpr std::int64_t kIrVersion = 7;  // the one that opset 13 came with

onnx::TensorShapeProto* declare(onnx::ValueInfoProto& value, const std::string& name, int type) {
  value.set_name(name);
  auto* tensor = value.mutable_type()->mutable_tensor_type();
  tensor->set_elem_type(type);
  return tensor->mutable_shape();
}

}  // namespace

OnnxGraph::OnnxGraph(const io::TensorMap& tensors)
    : state_(std::make_unique<State>(State{tensors, {}, {}})) {
  state_->model.set_ir_version(kIrVersion);
  state_->model.set_producer_name("retort");
  state_->model.set_producer_version(std::string(core::kVersion));
  auto* opset = state_->model.add_opset_import();
  opset->set_domain("");
  opset->set_version(kOnnxOpset);
}
OnnxGraph::~OnnxGraph() = default;

bool OnnxGraph::has(const std::string& tensor) const { return state_->tensors.contains(tensor); }

const std::vector<std::uint64_t>& OnnxGraph::shape(const std::string& tensor) const {
  const auto found = state_->tensors.find(tensor);
  if (found == state_->tensors.end())
    throw core::InternalError(fmt::format("ONNX: the model has no tensor {}", tensor));
  return found->second.shape;
}

std::string OnnxGraph::pixels(std::int64_t channels, std::int64_t height, std::int64_t width) {
  auto* shape = declare(*state_->graph().add_input(), "pixels", onnx::TensorProto::FLOAT);
  shape->add_dim()->set_dim_param("n");
  for (const std::int64_t extent : {channels, height, width})
    shape->add_dim()->set_dim_value(extent);
  return "pixels";
}

std::string OnnxGraph::ids() {
  auto* shape = declare(*state_->graph().add_input(), "ids", onnx::TensorProto::INT64);
  shape->add_dim()->set_dim_param("n");
  shape->add_dim()->set_dim_param("length");
  return "ids";
}

std::string OnnxGraph::constant(const std::string& name, int type,
                                const std::vector<std::int64_t>& shape, const void* bytes,
                                std::size_t size) {
  if (!state_->initialisers.insert(name).second) return name;
  onnx::TensorProto& tensor = *state_->graph().add_initializer();
  tensor.set_name(name);
  tensor.set_data_type(type);
  for (const std::int64_t extent : shape) tensor.add_dims(extent);
  tensor.set_raw_data(bytes, size);
  return name;
}

std::string OnnxGraph::tensor(const std::string& name) {
  const auto& own = shape(name);
  return tensor(name, std::vector<std::int64_t>(own.begin(), own.end()));
}

std::string OnnxGraph::tensor(const std::string& name, const std::vector<std::int64_t>& shape) {
  if (!has(name)) throw core::InternalError(fmt::format("ONNX: the model has no tensor {}", name));
  const io::Tensor& found = state_->tensors.at(name);
  return constant(name, onnx::TensorProto::FLOAT, shape, found.bytes.data(), found.bytes.size());
}

std::string OnnxGraph::integers(const std::vector<std::int64_t>& values) {
  return constant(fmt::format("constant_{}", state_->constants++), onnx::TensorProto::INT64,
                  {static_cast<std::int64_t>(values.size())}, values.data(),
                  values.size() * sizeof(std::int64_t));
}

std::string OnnxGraph::integer(std::int64_t value) {
  return constant(fmt::format("constant_{}", state_->constants++), onnx::TensorProto::INT64, {},
                  &value, sizeof value);
}

std::string OnnxGraph::real(float value) {
  return constant(fmt::format("constant_{}", state_->constants++), onnx::TensorProto::FLOAT, {},
                  &value, sizeof value);
}

std::string OnnxGraph::node(const std::string& operation, const std::vector<std::string>& inputs,
                            const std::vector<OnnxAttribute>& attributes) {
  onnx::NodeProto& node = *state_->graph().add_node();
  const std::string name = fmt::format("{}_{}", operation, state_->nodes++);
  node.set_name(name);
  node.set_op_type(operation);
  for (const std::string& input : inputs) node.add_input(input);
  node.add_output(name);
  for (const OnnxAttribute& attribute : attributes) {
    onnx::AttributeProto& made = *node.add_attribute();
    made.set_name(attribute.name);
    if (const auto* one = std::get_if<std::int64_t>(&attribute.value)) {
      made.set_type(onnx::AttributeProto::INT);
      made.set_i(*one);
    } else {
      made.set_type(onnx::AttributeProto::INTS);
      for (const std::int64_t value : std::get<std::vector<std::int64_t>>(attribute.value))
        made.add_ints(value);
    }
  }
  return name;
}

std::string OnnxGraph::to_fp32(const std::string& input) {
  return node("Cast", {input}, {{"to", std::int64_t{onnx::TensorProto::FLOAT}}});
}

std::string OnnxGraph::conv(const std::string& name, const std::string& x, std::int64_t stride) {
  const std::string weight = name + ".weight";
  const auto kernel = static_cast<std::int64_t>(shape(weight).at(2));
  const std::int64_t padding = kernel / 2;
  std::vector<std::string> inputs = {x, tensor(weight)};
  if (has(name + ".bias")) inputs.push_back(tensor(name + ".bias"));
  return node("Conv", inputs,
              {{"kernel_shape", std::vector<std::int64_t>{kernel, kernel}},
               {"pads", std::vector<std::int64_t>(4, padding)},
               {"strides", std::vector<std::int64_t>{stride, stride}}});
}

std::string OnnxGraph::batch_norm(const std::string& name, const std::string& x) {
  // Epsilon is the operator's default, 1e-5.
  return node("BatchNormalization",
              {x, tensor(name + ".weight"), tensor(name + ".bias"), tensor(name + ".running_mean"),
               tensor(name + ".running_var")});
}

std::string OnnxGraph::linear(const std::string& name, const std::string& x) {
  std::vector<std::string> inputs = {x, tensor(name + ".weight")};
  if (has(name + ".bias")) inputs.push_back(tensor(name + ".bias"));
  return node("Gemm", inputs, {{"transB", std::int64_t{1}}});
}

std::string OnnxGraph::relu(const std::string& x) { return node("Relu", {x}); }

std::string OnnxGraph::average_pool(const std::string& x) {
  return node("ReduceMean", {x},
              {{"axes", std::vector<std::int64_t>{2, 3}}, {"keepdims", std::int64_t{0}}});
}

std::string OnnxGraph::finish(const std::string& logits, const std::string& model,
                              const std::vector<std::string>& class_names) {
  onnx::GraphProto& graph = state_->graph();
  graph.set_name(model);
  auto& last = *graph.mutable_node(graph.node_size() - 1);
  if (last.output(0) != logits)
    throw core::InternalError("ONNX: the logits are not what the last node makes");
  last.set_output(0, "logits");
  auto* shape = declare(*graph.add_output(), "logits", onnx::TensorProto::FLOAT);
  shape->add_dim()->set_dim_param("n");
  shape->add_dim()->set_dim_value(static_cast<std::int64_t>(class_names.size()));
  auto* names = state_->model.add_metadata_props();
  names->set_key("class_names");
  names->set_value(nlohmann::json(class_names).dump());
  if (state_->model.ByteSizeLong() >
      static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max()))
    throw core::DataError(
        fmt::format("model {}: {} bytes, an ONNX file holds at most 2 GiB: export it as "
                    "safetensors alone",
                    model, state_->model.ByteSizeLong()));
  std::string bytes;
  if (!state_->model.SerializeToString(&bytes))
    throw core::InternalError("ONNX: the graph cannot be written");
  return bytes;
}

}  // namespace retort::nn
