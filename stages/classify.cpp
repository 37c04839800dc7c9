// classify: the best labels of new pictures or lines of text (methods/topk-distillation.md,
// "Serving"). One process; each sample is computed alone, so its answer depends on nothing else.
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <numeric>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/log.h"
#include "io/atomic_file.h"
#include "io/image_codec.h"
#include "io/pixels.h"
#include "io/utf8.h"
#include "stages/best_labels.h"
#include "stages/classifier.h"
#include "stages/inference.h"
#include "stages/stage.h"
#include "stages/workers.h"

namespace retort::stages {

namespace {

constexpr const char* kStandardInput = "-";

struct ClassifyOptions {
  std::filesystem::path model;
  TorchScriptOptions torchscript;
  std::vector<std::string> files;
  std::uint64_t top_n = 5;
  io::ImageFit fit = io::ImageFit::stretch;
};

/// A picture's file or a line of text, and what became of it.
struct Question {
  std::string file;
  std::uint64_t line = 0;  // from 1; 0: a picture
  std::string text{};      // of the line
  std::vector<Label> labels{};
  std::string error{};  // empty: none

  std::string where() const { return line == 0 ? file : fmt::format("{}:{}", file, line); }
};

std::vector<std::byte> read_standard_input() {
  const std::string all{std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>()};
  const auto bytes = std::as_bytes(std::span(all));
  return {bytes.begin(), bytes.end()};
}

/// Turns questions into answers: one thread's decoder and buffers.
class Answerer {
 public:
  Answerer(const LoadedModel& model, const ClassifyOptions& options)
      : model_(model), options_(options) {
    const auto& description = model.description;
    if (!description.text) converter_.emplace(description.scale, description.input.channels);
    batch_.samples = {0};
  }

  void answer(Question& question) {
    try {
      if (model_.description.text)
        fill_text(question);
      else
        fill_picture(question);
      const at::Tensor logits = infer(model_, batch_);
      const std::span values(logits.const_data_ptr<float>(),
                             static_cast<std::size_t>(logits.numel()));
      if (!std::all_of(values.begin(), values.end(), [](float z) { return std::isfinite(z); }))
        throw core::DataError(
            fmt::format("{}: the model's logits are not finite", question.where()));
      question.labels = best_labels(values, options_.top_n);
    } catch (const core::Error& error) {
      if (error.code() == core::ExitCode::internal) throw;
      question.error = error.what();
    }
  }

 private:
  void fill_text(const Question& question) {
    batch_.ids.clear();
    io::append_ids(*model_.description.text, question.text, batch_.ids);
    batch_.id_begin = {0, static_cast<std::int64_t>(batch_.ids.size())};
  }
  void fill_picture(const Question& question) {
    const io::ImageShape& shape = model_.description.input;
    const auto bytes =
        question.file == kStandardInput ? read_standard_input() : io::read_file(question.file);
    picture_.resize(shape.elements());
    decoder_.decode_to(bytes, shape, options_.fit, question.file, picture_);
    batch_.pixels.resize(shape.elements());
    converter_->convert(shape, picture_, batch_.pixels);
  }

  const LoadedModel& model_;
  const ClassifyOptions& options_;
  std::optional<io::PixelConverter> converter_;
  io::ImageDecoder decoder_;
  io::MicroBatch batch_;
  std::vector<std::uint8_t> picture_;
};

class Classify : public Stage {
 public:
  void declare(core::OptionTable& table) override {
    using core::OptionEffect;
    table.group("Classify");
    auto& model = table.add("model", &options_.model,
                            "Model folder, the folder of its section, or a TorchScript file");
    model.effect = OptionEffect::input;
    model.required = true;
    auto& files = table.add_repeated("files", &options_.files,
                                     "Pictures (JPEG, PNG, PNM), or files with a text on each "
                                     "line, as the model takes; - is standard input");
    files.effect = OptionEffect::input;
    files.positional = true;
    files.required = true;
    files.value_name = "FILE";
    table.add("top-n", &options_.top_n, "Labels of each, the best first; at most all classes");
    table.add_choice("fit", &options_.fit,
                     {{"stretch", io::ImageFit::stretch}, {"crop", io::ImageFit::crop}},
                     "How a picture of another shape gets to the model's size: both axes on their "
                     "own, or the largest centred part");
    options_.torchscript.declare(table);
  }

  void validate() const override {
    if (options_.top_n < 1) throw core::UsageError("--top-n 0: must be at least 1");
  }

  StageOutcome run(StageContext& context) override {
    const LoadedModel model = load_classifier(options_.model, options_.torchscript, std::nullopt);
    Workers workers(context.threads);
    std::vector<Answerer> answerers;
    answerers.reserve(static_cast<std::size_t>(workers.count()));
    for (int worker = 0; worker < workers.count(); ++worker)
      answerers.emplace_back(model, options_);
    Session session{context, model, workers, answerers, {}};
    if (model.description.text)
      for (const auto& file : options_.files) read_lines(session, file);
    else
      for (const auto& file : options_.files) ask(session, {.file = file}, kWindow);
    settle(session);
    if (session.replaced > 0)
      core::log_warning("{} invalid bytes of UTF-8 were read as U+FFFD", session.replaced);
    if (session.failed > 0)
      throw core::DataError(fmt::format("{} of {} {} could not be classified", session.failed,
                                        session.asked,
                                        model.description.text ? "texts" : "pictures"));
    return StageOutcome::done;
  }

 private:
  static constexpr std::size_t kWindow = 64;  // questions answered together, for each worker

  struct Session {
    StageContext& context;
    const LoadedModel& model;
    Workers& workers;
    std::vector<Answerer>& answerers;
    std::vector<Question> waiting;
    std::uint64_t asked = 0, failed = 0, replaced = 0;
    bool closed = false;  // nobody reads standard output any more
  };

  // Answers come out in the order of questions, at the latest when `window` of them wait.
  static void ask(Session& session, Question question, std::size_t window) {
    if (session.closed) return;
    ++session.asked;
    session.waiting.push_back(std::move(question));
    if (session.waiting.size() >= window * static_cast<std::size_t>(session.workers.count()))
      settle(session);
  }

  static void settle(Session& session) {
    std::atomic<std::size_t> next{0};
    auto& waiting = session.waiting;
    const auto work = [&](int worker) {
      for (std::size_t i = next++; i < waiting.size(); i = next++)
        session.answerers[static_cast<std::size_t>(worker)].answer(waiting[i]);
    };
    if (waiting.size() == 1)
      work(0);
    else if (!waiting.empty())
      session.workers.run(work);
    for (const Question& question : waiting) print(session, question);
    waiting.clear();
    if (std::fflush(stdout) == 0) return;
    if (errno != EPIPE)
      throw core::IoError(
          fmt::format("standard output cannot be written: {}", std::strerror(errno)));
    session.closed = true;
  }

  // Lines that come through a pipe are answered one by one, those of a file side by side.
  static void read_lines(Session& session, const std::string& file) {
    std::error_code error;
    std::ifstream opened;
    const bool standard = file == kStandardInput;
    const std::filesystem::path path = standard ? "/dev/stdin" : file;
    const std::size_t window = std::filesystem::is_regular_file(path, error) ? kWindow : 0;
    if (!standard) {
      opened.open(file);
      if (!opened || std::filesystem::is_directory(path, error)) {
        settle(session);
        ++session.asked;
        print(session, {.file = file,
                        .error = fmt::format("{}: cannot be read: {}", file,
                                             opened ? "is a folder" : std::strerror(errno))});
        return;
      }
    }
    std::istream& input = standard ? std::cin : opened;
    Question question{.file = file};
    for (std::string line; !session.closed && std::getline(input, line);) {
      if (line.ends_with('\r')) line.pop_back();
      session.replaced += io::replace_invalid_utf8(line);
      ++question.line;
      question.text = line;
      ask(session, question, window);
    }
  }

  static void print(Session& session, const Question& question) {
    if (!question.error.empty()) {
      ++session.failed;
      core::log_warning("{}", question.error);
    }
    if (session.context.json) {
      nlohmann::ordered_json json = {{"file", question.file}};
      if (question.line > 0) json["line"] = question.line;
      if (!question.error.empty()) json["error"] = question.error;
      for (const Label& label : question.labels)
        json["labels"].push_back(
            {{"name", name_of(session, label)}, {"probability", label.probability}});
      const auto replace = nlohmann::ordered_json::error_handler_t::replace;
      fmt::print("{}\n", json.dump(-1, ' ', false, replace));
    } else if (question.error.empty()) {
      fmt::print("{}", question.where());
      for (const Label& label : question.labels)
        fmt::print("\t{} {:.4f}", name_of(session, label), label.probability);
      fmt::print("\n");
    }
  }

  static const std::string& name_of(const Session& session, const Label& label) {
    return session.model.description.class_names[label.id];
  }

  ClassifyOptions options_;
};

}  // namespace

std::unique_ptr<Stage> make_classify() { return std::make_unique<Classify>(); }

}  // namespace retort::stages
