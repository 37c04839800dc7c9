// A site file: what jobs look like at one site, for all stages and for single ones. docs/slurm.md.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "pipeline/slurm_settings.h"
#include "stages/stage.h"

namespace retort::pipeline {

/// A site file, checked.
class Site {
 public:
  /// Without settings.
  Site() = default;
  /// UsageError with file and line: syntax, a section that is no stage, an unknown key (names the
  /// nearest), a bad value, a key twice that may stand once.
  Site(std::string_view text, const std::string& where);

  /// The settings of a plan's section: the lines before any section, then those of [STAGE], then
  /// those of [@SECTION], then `given`; later ones win, lists of lines (prolog, sbatch, srun) add
  /// up.
  JobSettings settings(std::string_view stage, std::string_view section,
                       const std::vector<stages::GivenOption>& given) const;
  /// A line for each block [@NAME] that a plan with these sections has no use for though one of
  /// them is nearly called so. A site file serves many plans: other names say nothing.
  std::vector<std::string> likely_slips(const std::vector<std::string>& sections) const;

 private:
  struct Block {
    std::string name;    // "", "train", "@teacher"
    std::string origin;  // "site.ini:12"
    std::vector<stages::GivenOption> lines;
  };
  std::vector<Block> blocks_;
};

}  // namespace retort::pipeline
