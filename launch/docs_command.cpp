#include "launch/docs_command.h"

#include <filesystem>

#include <fmt/format.h>

#include "io/atomic_file.h"
#include "launch/commands.h"
#include "launch/help_text.h"

namespace retort::launch {
namespace {

class Docs : public stages::Stage {
 public:
  void declare(core::OptionTable& table) override {
    table.group("Output");
    core::Option& out = table.add("out", &out_, "folder that receives NAME.md per command");
    out.effect = core::OptionEffect::output;
    out.required = true;
  }

  stages::StageOutcome run(stages::StageContext&) override {
    io::make_folder(out_);
    for (const auto& command : all_commands()) {
      if (command.shown == Shown::no) continue;
      const DeclaredCommand declared = declare_with_defaults(command.entry);
      io::write_file(out_ / fmt::format("{}.md", command.entry.name),
                     command_page(command.entry, declared.table));
    }
    return stages::StageOutcome::done;
  }

 private:
  std::filesystem::path out_;
};

}  // namespace

std::unique_ptr<stages::Stage> make_docs() { return std::make_unique<Docs>(); }

}  // namespace retort::launch
