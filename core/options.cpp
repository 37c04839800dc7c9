#include "core/options.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "core/error.h"
#include "core/ini.h"

namespace retort::core {
namespace {

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const auto first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

bool parse_bool(const std::string& text) {
  for (const auto* word : {"true", "yes", "on", "1"})
    if (text == word) return true;
  for (const auto* word : {"false", "no", "off", "0"})
    if (text == word) return false;
  throw UsageError(fmt::format("'{}' is neither true nor false", text));
}

template <class T>
T parse_integer(std::string_view text) {
  T value{};
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (status == std::errc::result_out_of_range)
    throw UsageError(fmt::format("'{}' is out of range [{}, {}]", text,
                                 std::numeric_limits<T>::min(), std::numeric_limits<T>::max()));
  if (status != std::errc{} || end != text.data() + text.size())
    throw UsageError(
        fmt::format("'{}' is not {}", text,
                    std::is_unsigned_v<T> ? "a whole number of at least 0" : "a whole number"));
  return value;
}

double parse_double(std::string_view text) {
  double value = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (status == std::errc::result_out_of_range)
    throw UsageError(fmt::format("'{}' is out of the range of a double", text));
  if (status != std::errc{} || end != text.data() + text.size() || !std::isfinite(value))
    throw UsageError(fmt::format("'{}' is not a finite number", text));
  return value;
}

// "" is the empty list; a list with an empty element ("1,,2") is a mistake.
template <class T, class ParseOne>
std::vector<T> parse_list(const std::string& text, ParseOne parse_one) {
  std::vector<T> values;
  std::string_view rest = trimmed(text);
  if (rest.empty()) return values;
  while (true) {
    const auto comma = rest.find(',');
    const auto element = trimmed(rest.substr(0, comma));
    if (element.empty())
      throw UsageError(
          fmt::format("'{}' has an empty element; separate values by one comma", text));
    values.push_back(static_cast<T>(parse_one(element)));
    if (comma == std::string_view::npos) return values;
    rest.remove_prefix(comma + 1);
  }
}

template <class T>
std::string print_list(const std::vector<T>& values) {
  return fmt::format("{}", fmt::join(values, ","));
}

Option text_option(std::string name, std::string value_name, std::string help) {
  Option option;
  option.name = std::move(name);
  option.value_name = std::move(value_name);
  option.help = std::move(help);
  return option;
}

template <class T>
Option integer_option(std::string name, T* target, std::string help) {
  Option option = text_option(std::move(name), "N", std::move(help));
  option.parse = [target](const std::string& text) { *target = parse_integer<T>(trimmed(text)); };
  option.print = [target] { return fmt::format("{}", *target); };
  return option;
}

// Optimal string alignment: insert, delete, replace, swap neighbours.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<std::size_t>> d(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) d[i][0] = i;
  for (std::size_t j = 0; j <= b.size(); ++j) d[0][j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    for (std::size_t j = 1; j <= b.size(); ++j) {
      d[i][j] = std::min(
          {d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0u : 1u)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
    }
  }
  return d[a.size()][b.size()];
}

}  // namespace

Option& OptionTable::append(Option option) {
  if (option.name.empty() || find(option.name) != nullptr)
    throw InternalError(fmt::format("option '{}' is declared twice or has no name", option.name));
  option.group = group_;
  option.default_text = option.print();
  options_.push_back(std::move(option));
  return options_.back();
}

Option& OptionTable::add(std::string name, bool* target, std::string help) {
  Option option = text_option(std::move(name), "", std::move(help));
  option.is_switch = true;
  option.parse = [target](const std::string& text) {
    *target = parse_bool(std::string(trimmed(text)));
  };
  option.print = [target] { return std::string(*target ? "true" : "false"); };
  return append(std::move(option));
}

Option& OptionTable::add(std::string name, int* target, std::string help) {
  return append(integer_option(std::move(name), target, std::move(help)));
}
Option& OptionTable::add(std::string name, std::int64_t* target, std::string help) {
  return append(integer_option(std::move(name), target, std::move(help)));
}
Option& OptionTable::add(std::string name, std::uint64_t* target, std::string help) {
  return append(integer_option(std::move(name), target, std::move(help)));
}

Option& OptionTable::add(std::string name, double* target, std::string help) {
  Option option = text_option(std::move(name), "X", std::move(help));
  option.parse = [target](const std::string& text) { *target = parse_double(trimmed(text)); };
  option.print = [target] { return fmt::format("{}", *target); };  // shortest that reads back
  return append(std::move(option));
}

Option& OptionTable::add(std::string name, std::string* target, std::string help) {
  Option option = text_option(std::move(name), "TEXT", std::move(help));
  option.parse = [target](const std::string& text) { *target = text; };
  option.print = [target] { return *target; };
  return append(std::move(option));
}

Option& OptionTable::add(std::string name, std::filesystem::path* target, std::string help) {
  Option option = text_option(std::move(name), "PATH", std::move(help));
  option.effect = OptionEffect::input;
  option.parse = [target](const std::string& text) { *target = text; };
  option.print = [target] { return target->string(); };
  return append(std::move(option));
}

Option& OptionTable::add(std::string name, std::vector<double>* target, std::string help) {
  Option option = text_option(std::move(name), "X,X,...", std::move(help));
  option.parse = [target](const std::string& text) {
    *target = parse_list<double>(text, parse_double);
  };
  option.print = [target] { return print_list(*target); };
  return append(std::move(option));
}

Option& OptionTable::add(std::string name, std::vector<std::int64_t>* target, std::string help) {
  Option option = text_option(std::move(name), "N,N,...", std::move(help));
  option.parse = [target](const std::string& text) {
    *target = parse_list<std::int64_t>(text, parse_integer<std::int64_t>);
  };
  option.print = [target] { return print_list(*target); };
  return append(std::move(option));
}

Option& OptionTable::add(std::string name, std::vector<std::string>* target, std::string help) {
  Option option = text_option(std::move(name), "WORD,...", std::move(help));
  option.parse = [target](const std::string& text) {
    *target = parse_list<std::string>(text, [](std::string_view v) { return v; });
  };
  option.print = [target] { return print_list(*target); };
  return append(std::move(option));
}

Option& OptionTable::add_repeated(std::string name, std::vector<std::string>* target,
                                  std::string help) {
  Option option = text_option(std::move(name), "TEXT", std::move(help));
  option.repeated = true;
  option.parse = [target](const std::string& text) { target->push_back(text); };
  option.print = [target] { return fmt::format("{}", fmt::join(*target, "\n")); };
  return append(std::move(option));
}

Option& OptionTable::add_choice_by_index(std::string name, std::vector<std::string> choices,
                                         std::string help, std::function<void(std::size_t)> store,
                                         std::function<std::size_t()> load) {
  Option option = text_option(std::move(name), "WORD", std::move(help));
  option.choices = choices;
  option.parse = [choices, store = std::move(store)](const std::string& text) {
    const std::string word(trimmed(text));
    const auto found = std::find(choices.begin(), choices.end(), word);
    if (found == choices.end())
      throw UsageError(fmt::format("'{}' is not one of {}", word, fmt::join(choices, ", ")));
    store(static_cast<std::size_t>(found - choices.begin()));
  };
  option.print = [choices = std::move(choices), load = std::move(load)] { return choices[load()]; };
  return append(std::move(option));
}

const Option* OptionTable::find(std::string_view name) const {
  for (const auto& option : options_)
    if (option.name == name) return &option;
  return nullptr;
}

void OptionTable::set(std::string_view name, const std::string& text) {
  const Option* found = find(name);
  if (found == nullptr) {
    std::vector<std::string> known = suggestions_;
    for (const auto& option : options_) known.push_back(option.name);
    const std::string near = nearest_word(name, known);
    throw UsageError(near.empty()
                         ? fmt::format("unknown option '{}'", name)
                         : fmt::format("unknown option '{}'; did you mean '{}'?", name, near));
  }
  Option& option = options_[static_cast<std::size_t>(found - options_.data())];
  try {
    if (text.find('\0') != std::string::npos) throw UsageError("the value holds a zero byte");
    option.parse(text);
  } catch (const UsageError& error) {
    throw UsageError(fmt::format("option '{}': {}", option.name, error.what()));
  }
  option.given = true;
}

bool OptionTable::given(std::string_view name) const {
  const Option* option = find(name);
  if (option == nullptr)
    throw InternalError(fmt::format("given(): option '{}' was never declared", name));
  return option->given;
}

void OptionTable::require() const {
  for (const auto& option : options_)
    if (option.required && (!option.given || option.print().empty()))
      throw UsageError(fmt::format("option '{}' is required ({})", option.name, option.help));
}

bool OptionTable::counts(const Option& option) const {
  if (option.chooser.empty()) return true;
  const Option* chooser = find(option.chooser);
  if (chooser == nullptr)
    throw InternalError(fmt::format("option '{}' belongs to '{}', which was never declared",
                                    option.name, option.chooser));
  return std::find(option.chosen.begin(), option.chosen.end(), chooser->print()) !=
         option.chosen.end();
}

std::string OptionTable::choice_fault(std::string_view name) const {
  const Option* option = find(name);
  if (option == nullptr || !option->given || counts(*option)) return {};
  // What the word is may be had by an option that does count: --strict by --invalid-utf8 strict.
  std::string instead;
  for (const auto& other : options_)
    if (other.chooser == option->chooser && counts(other) &&
        std::find(other.choices.begin(), other.choices.end(), option->name) != other.choices.end())
      instead = fmt::format(", say --{} {},", other.name, option->name);
  return fmt::format(
      "option '{0}' belongs to {1} {2}, but {1} is {3}; remove it{4} or choose {1} {2}",
      option->name, option->chooser, fmt::join(option->chosen, " or "),
      find(option->chooser)->print(), instead);
}

std::string OptionTable::ini() const {
  std::string text;
  for (const auto& option : options_) {
    const std::string value = option.print();
    if (!counts(option) || (value.empty() && (!option.given || option.repeated))) {
      text += fmt::format("# {} =\n", option.name);
    } else if (option.repeated) {
      for (std::string_view rest = value;;) {
        const auto line = rest.find('\n');
        text += fmt::format("{} = {}\n", option.name, ini_quote(rest.substr(0, line)));
        if (line == std::string_view::npos) break;
        rest.remove_prefix(line + 1);
      }
    } else {
      text += fmt::format("{} = {}\n", option.name, ini_quote(value));
    }
  }
  return text;
}

std::string OptionTable::recipe() const {
  std::string text;
  for (const auto& option : options_)
    if (option.effect == OptionEffect::result)
      text += fmt::format("{}={}\n", option.name, ini_quote(option.print()));
  return text;
}

std::string nearest_word(std::string_view word, const std::vector<std::string>& known) {
  std::string best;
  std::size_t best_distance = std::max<std::size_t>(2, word.size() / 3) + 1;
  for (const auto& candidate : known) {
    std::size_t distance = edit_distance(word, candidate);
    // A word cut short ("learn" for "learning-rate") is near, whatever is missing.
    if (word.size() >= 3 && candidate.starts_with(word))
      distance = std::min<std::size_t>(distance, 2);
    // Replacing most of a short word is no likeness.
    if (distance >= std::min(word.size(), candidate.size())) continue;
    if (distance < best_distance) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

}  // namespace retort::core
