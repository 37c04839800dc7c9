// Option files and plans: core::parse_ini. What it reads it must write so that it reads it again.
#include "core/ini.h"
#include "tests/fuzz/fuzz_target.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace retort;
  fuzz::may_refuse([&] {
    for (const core::IniSection& section : core::parse_ini(fuzz::text_of(data, size), "plan.ini"))
      for (const core::IniEntry& entry : section.entries) {
        if (entry.value.find('\r') != std::string::npos) continue;  // no escape stands for it
        const auto again = core::parse_ini("key = " + core::ini_quote(entry.value), "again");
        fuzz::require(again.at(0).entries.at(0).value == entry.value);
      }
  });
  return 0;
}
