#include "pipeline/registry.h"

#include <array>

namespace retort::pipeline {

std::unique_ptr<stages::Stage> make_run();
std::unique_ptr<stages::Stage> make_resume();
std::unique_ptr<stages::Stage> make_submit();
std::unique_ptr<stages::Stage> make_status();
std::unique_ptr<stages::Stage> make_cancel();
std::unique_ptr<stages::Stage> make_clean();
std::unique_ptr<stages::Stage> make_check();
std::unique_ptr<stages::Stage> make_inspect();
std::unique_ptr<stages::Stage> make_report();

namespace {
using stages::Ranks;
using stages::StageEntry;
constexpr std::array kCommands = {
    StageEntry{"run", "run the sections of a plan that are not up to date", Ranks::many, make_run},
    StageEntry{"resume", "go on with a plan's run", Ranks::many, make_resume},
    StageEntry{"submit", "run the sections of a plan as Slurm jobs", Ranks::one, make_submit},
    StageEntry{"status", "show how far the sections of a plan are", Ranks::one, make_status},
    StageEntry{"cancel", "end the Slurm jobs of a plan's run, with checkpoints", Ranks::one,
               make_cancel},
    StageEntry{"clean", "remove from a plan's run what nobody needs any more", Ranks::one,
               make_clean},
    StageEntry{"check", "say whether every byte of a folder is right", Ranks::one, make_check},
    StageEntry{"report", "write one HTML file that says what happened in a run", Ranks::one,
               make_report},
    StageEntry{"inspect", "show what is in a file or folder", Ranks::one, make_inspect},
};
}  // namespace

std::span<const StageEntry> pipeline_registry() { return kCommands; }

}  // namespace retort::pipeline
