#include "io/companions.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/ini.h"
#include "io/atomic_file.h"
#include "tests/unit/core/temporary_folder.h"

namespace retort::io {
namespace {

using ::testing::HasSubstr;

class CompanionsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    write_configuration(at(), "epochs = 3\n# out =\n");
    write_sealed(at(), kResultsName, {{"top1", 0.5}, {"loss", std::nan("")}, {"who", "x"}});
  }
  std::string text_of(std::string_view name) const {
    const auto bytes = read_file(at() / name);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  void overwrite(std::string_view name, std::string_view text) const {
    write_file(at() / name, text);
  }
  const std::filesystem::path& at() const { return folder_.path(); }
  core::TemporaryFolder folder_;
};

TEST_F(CompanionsTest, ComeBack) {
  EXPECT_EQ(read_sealed(at(), kResultsName),
            (nlohmann::json{{"top1", 0.5}, {"loss", nullptr}, {"who", "x"}}));
  const auto sections = core::parse_ini(text_of(kConfigurationName), "config.ini");
  ASSERT_EQ(sections.at(0).entries.size(), 1u);
  EXPECT_EQ(sections.at(0).entries[0].value, "3");
  EXPECT_EQ(companion_fault(at(), "config.ini"), "");
  EXPECT_EQ(companion_fault(at(), "results.json"), "");
}

TEST_F(CompanionsTest, AnyChangedOrLostByteIsSeen) {
  for (const std::string name : {"config.ini", "results.json"}) {
    const std::string right = text_of(name);
    for (std::size_t i = 0; i < right.size(); ++i) {
      std::string wrong = right;
      wrong[i] = static_cast<char>(wrong[i] ^ 4);
      overwrite(name, wrong);
      EXPECT_NE(companion_fault(at(), name), "") << name << " byte " << i;
      overwrite(name, right.substr(0, i));
      EXPECT_NE(companion_fault(at(), name), "") << name << " cut to " << i;
    }
    overwrite(name, right + "\n");
    EXPECT_NE(companion_fault(at(), name), "") << name;
    std::filesystem::remove(at() / name);
    EXPECT_EQ(companion_fault(at(), name), "missing");
  }
  EXPECT_THROW(read_sealed(at(), kResultsName), core::DataError);
}

}  // namespace
}  // namespace retort::io
