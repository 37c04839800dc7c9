// OptionTable: a command declares its options here, once, bound to the fields of its own struct.
// launch binds a table to Boost.Program_options, pipeline validates plan sections with it, docs and
// --help are generated from it. An option is the same word on the command line (--learning-rate),
// in the environment (RETORT_LEARNING_RATE) and in an INI file (learning-rate = ...).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace retort::core {

/// What an option means for the result; decides what enters a recipe hash.
enum class OptionEffect {
  result,  // changes what is computed
  input,   // a path; the content behind it counts, not its name
  output,  // a path that is written; does not count
  run,     // speed, display, placement; does not count
};

struct Option {
  std::string name;        // "learning-rate"
  std::string value_name;  // "X", "DIR", "" for a switch
  std::string help;        // one sentence, says the unit
  std::string group;       // heading in --help
  OptionEffect effect = OptionEffect::result;
  bool required = false;
  bool is_switch = false;   // --json alone means true
  bool given = false;       // set by set()
  bool positional = false;  // also filled by words without a dash, in order of declaration
  bool repeated = false;    // each set() appends one value; in an INI file one line each
  char short_name = 0;      // 'n' for -n; 0: none
  std::vector<std::string> choices;
  /// It counts only while the option `chooser` has one of the values `chosen` ("from": "glyphs");
  /// given beside another choice it is an error. Empty: always.
  std::string chooser;
  std::vector<std::string> chosen;
  std::string default_text;                       // as --help shows it
  std::function<void(const std::string&)> parse;  // throws UsageError with the reason only
  std::function<std::string()> print;             // the present value, parse(print()) is identity
};

/// Owns the descriptions (a returned Option& is good until the next add), not the values: the
/// targets must outlive the table.
class OptionTable {
 public:
  /// Heading for the options added after it.
  void group(std::string title) { group_ = std::move(title); }
  /// The options that `declare` adds belong to these choices of another option: see Option.
  template <class Declare>
  void only_with(const std::string& chooser, const std::vector<std::string>& chosen,
                 Declare declare) {
    const std::size_t first = options_.size();
    declare();
    for (std::size_t i = first; i < options_.size(); ++i) {
      options_[i].chooser = chooser;
      options_[i].chosen = chosen;
    }
  }
  template <class Declare>
  void only_with(const std::string& chooser, const char* choice, Declare declare) {
    only_with(chooser, std::vector<std::string>{choice}, declare);
  }

  // Each add binds `target`, whose present value is the default, and returns the option so that the
  // caller can refine it. Lists are comma separated.
  Option& add(std::string name, bool* target, std::string help);
  Option& add(std::string name, int* target, std::string help);
  Option& add(std::string name, std::int64_t* target, std::string help);
  Option& add(std::string name, std::uint64_t* target, std::string help);
  Option& add(std::string name, double* target, std::string help);
  Option& add(std::string name, std::string* target, std::string help);
  Option& add(std::string name, std::filesystem::path* target, std::string help);
  Option& add(std::string name, std::vector<double>* target, std::string help);
  Option& add(std::string name, std::vector<std::int64_t>* target, std::string help);
  Option& add(std::string name, std::vector<std::string>* target, std::string help);
  /// May be given several times; each value is taken whole (commas included) and appended.
  Option& add_repeated(std::string name, std::vector<std::string>* target, std::string help);
  /// A word out of a fixed set, bound to an enumeration.
  template <class E>
  Option& add_choice(const std::string& name, E* target,
                     const std::vector<std::pair<std::string, E>>& words, const std::string& help) {
    std::vector<std::string> choices;
    choices.reserve(words.size());
    for (const auto& w : words) choices.push_back(w.first);
    return add_choice_by_index(
        name, std::move(choices), help,
        [target, words](std::size_t i) { *target = words[i].second; },
        [target, words] {
          for (std::size_t i = 0; i < words.size(); ++i)
            if (words[i].second == *target) return i;
          return std::size_t{0};
        });
  }

  const std::vector<Option>& options() const { return options_; }
  /// Names that are valid but belong to another table: set() may suggest them for a wrong one.
  void also_suggest(std::vector<std::string> names) { suggestions_ = std::move(names); }
  const Option* find(std::string_view name) const;
  /// Parses and stores. Unknown name: UsageError that names the nearest known one. Bad value:
  /// UsageError that names option, value, reason.
  void set(std::string_view name, const std::string& text);
  bool given(std::string_view name) const;
  /// UsageError naming the first required option that was not given.
  void require() const;
  /// What is wrong with the choices: names an option that was given and the choice that it belongs
  /// to, if another one was made. Empty: nothing, or `name` is no such option.
  std::string choice_fault(std::string_view name) const;
  /// `name = value` lines of all options in order, quoted so that core/ini.h reads back the same
  /// values. An option without value, or of a choice that was not made, is a comment line
  /// (`# out =`).
  std::string ini() const;
  /// `name=value` lines of the options with OptionEffect::result: what a recipe hash covers.
  std::string recipe() const;

 private:
  Option& add_choice_by_index(std::string name, std::vector<std::string> choices, std::string help,
                              std::function<void(std::size_t)> store,
                              std::function<std::size_t()> load);
  Option& append(Option option);
  bool counts(const Option& option) const;  // the choice that it belongs to was made
  std::string group_ = "Options";
  std::vector<Option> options_;
  std::vector<std::string> suggestions_;
};

/// The known word nearest to `word` (edit distance), or empty if none is near.
std::string nearest_word(std::string_view word, const std::vector<std::string>& known);

}  // namespace retort::core
