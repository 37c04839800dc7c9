#include "io/manifest.h"

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/hash.h"
#include "io/json_text.h"
#include "tests/unit/core/temporary_folder.h"

namespace retort::io {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

std::string text_of(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

void overwrite(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

std::span<const std::byte> raw(std::string_view text) { return std::as_bytes(std::span(text)); }

Manifest logits_manifest() {
  Manifest manifest;
  manifest.kind = "logits";
  return manifest;
}

std::vector<std::string> names(const std::vector<Member>& members) {
  std::vector<std::string> out;
  for (const Member& member : members) out.push_back(member.name);
  return out;
}

class ManifestTest : public ::testing::Test {
 protected:
  Manifest sample() {
    std::filesystem::create_directories(folder_ / "train");
    Manifest manifest;
    manifest.kind = "packed_dataset";
    manifest.format_version = 3;
    manifest.recipe_hash = std::string(64, 'a');
    manifest.content_digest = std::string(64, 'b');
    manifest.facts = {{"samples", 7}, {"mean", 0.1}, {"classes", {"ä", "b"}}};
    manifest.members = {{"train/2", write_file(folder_ / "train/2", "two"), {{"rows", 2}}},
                        {"train/1", write_file(folder_ / "train/1", "one")}};
    return manifest;
  }
  core::TemporaryFolder temporary_;
  std::filesystem::path folder_ = temporary_.path();
};

TEST_F(ManifestTest, ComesBackWithMembersSorted) {
  EXPECT_FALSE(has_manifest(folder_));
  const Manifest written = sample();
  write_manifest(folder_, written);
  EXPECT_TRUE(has_manifest(folder_));
  const Manifest read = read_manifest(folder_, "packed_dataset");
  EXPECT_EQ(read.kind, written.kind);
  EXPECT_EQ(read.format_version, 3u);
  EXPECT_EQ(read.recipe_hash, written.recipe_hash);
  EXPECT_EQ(read.content_digest, written.content_digest);
  EXPECT_EQ(read.facts, written.facts);
  EXPECT_THAT(names(read.members), ElementsAre("train/1", "train/2"));
  EXPECT_EQ(read.members[0].seal, written.members[1].seal);
  EXPECT_EQ(read.members[1].facts.at("rows"), 2);
  EXPECT_THAT(verify_members(folder_, read), IsEmpty());
  remove_manifest(folder_);
  EXPECT_FALSE(has_manifest(folder_));
  remove_manifest(folder_);
}

TEST_F(ManifestTest, TheBytesDependOnTheContentAlone) {
  Manifest manifest = sample();
  const FileSeal first = write_manifest(folder_, manifest);
  std::swap(manifest.members[0], manifest.members[1]);
  EXPECT_EQ(write_manifest(folder_, manifest), first);
}

TEST_F(ManifestTest, EveryChangedByteIsFound) {
  write_manifest(folder_, sample());
  const std::string text = text_of(folder_ / "manifest.json");
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char changes[] = {1, 4, 32};
    {
      const char change = changes[i % 3];
      std::string bad = text;
      bad[i] = static_cast<char>(bad[i] ^ change);
      overwrite(folder_ / "manifest.json", bad);
      EXPECT_THROW(read_manifest(folder_), core::DataError) << i;
    }
  }
  for (std::size_t size = 0; size < text.size(); size += 5) {
    overwrite(folder_ / "manifest.json", text.substr(0, size));
    EXPECT_THROW(read_manifest(folder_), core::DataError) << size;
  }
  overwrite(folder_ / "manifest.json", text + " ");
  EXPECT_THROW(read_manifest(folder_), core::DataError);
  overwrite(folder_ / "manifest.json", text);
  EXPECT_NO_THROW(read_manifest(folder_));
}

TEST_F(ManifestTest, ForeignButSealedJsonIsADataError) {
  for (const nlohmann::json& object : {nlohmann::json::object(), nlohmann::json{{"kind", 3}},
                                       nlohmann::json{{"kind", "x"}, {"format_version", "1"}}}) {
    overwrite(folder_ / "manifest.json", sealed_text(object));
    EXPECT_THROW(read_manifest(folder_), core::DataError);
  }
  overwrite(folder_ / "manifest.json", "[]\n");
  EXPECT_THROW(read_manifest(folder_), core::DataError);
  overwrite(folder_ / "manifest.json", std::string(100000, '['));
  EXPECT_THROW(read_manifest(folder_), core::DataError);
}

TEST_F(ManifestTest, NamesThatLeaveTheFolderAreRefused) {
  for (const std::string name : {"", "..", "../x", "a/../x", "/etc/passwd", "a//b", "a/", "./a",
                                 "a\\b", "a\nb", "manifest.json"}) {
    SCOPED_TRACE(name);
    EXPECT_THROW(check_member_name(name, "m"), core::DataError);
    nlohmann::json object = {
        {"kind", "x"},
        {"format_version", 1},
        {"recipe_hash", ""},
        {"content_digest", ""},
        {"facts", nullptr},
        {"members",
         {{{"name", name}, {"size", 1}, {"facts", nullptr}, {"sha256", std::string(64, '0')}}}}};
    overwrite(folder_ / "manifest.json", sealed_text(object));
    EXPECT_THROW(read_manifest(folder_), core::DataError);
  }
  EXPECT_NO_THROW(check_member_name("pass-00/shard-000000.h5", "m"));
  EXPECT_NO_THROW(check_member_name("..a/b..", "m"));
}

TEST_F(ManifestTest, AnotherKindAndAMissingManifestSayWhatToDo) {
  try {
    read_manifest(folder_);
    FAIL();
  } catch (const core::DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr(folder_.string()));
    EXPECT_THAT(error.what(), HasSubstr("missing"));
  }
  write_manifest(folder_, sample());
  try {
    read_manifest(folder_, "logits");
    FAIL();
  } catch (const core::DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr("'packed_dataset', not a 'logits'"));
  }
}

TEST_F(ManifestTest, FaultsOfMembersAreListed) {
  write_manifest(folder_, sample());
  const Manifest manifest = read_manifest(folder_);
  overwrite(folder_ / "train/1", "onE");
  std::filesystem::remove(folder_ / "train/2");
  const std::vector<MemberFault> faults = verify_members(folder_, manifest);
  ASSERT_THAT(faults, SizeIs(2));
  EXPECT_EQ(faults[0].name, "train/1");
  EXPECT_THAT(faults[0].fault, HasSubstr("SHA-256"));
  EXPECT_EQ(faults[1].fault, "missing");
  overwrite(folder_ / "train/1", "ones");
  EXPECT_THAT(verify_members(folder_, manifest)[0].fault, HasSubstr("4 bytes, not 3"));
}

TEST_F(ManifestTest, NanAndBadUtf8DoNotSlipIntoJson) {
  Manifest manifest = sample();
  manifest.facts = {{"loss", std::numeric_limits<double>::quiet_NaN()}};
  EXPECT_THROW(write_manifest(folder_, manifest), core::InternalError);
  manifest.facts = {{"class", "\xff\xfe"}};
  EXPECT_THROW(write_manifest(folder_, manifest), core::DataError);
  EXPECT_FALSE(has_manifest(folder_));
}

TEST_F(ManifestTest, DoublesComeBackExactly) {
  const std::vector<double> values{0.1, 1e-300, 5e-324, 1.7976931348623157e308, -0.0, 1.0 / 3};
  const nlohmann::json back = parse_sealed(sealed_text({{"v", values}}), "x");
  const auto read = back.at("v").get<std::vector<double>>();
  for (std::size_t i = 0; i < values.size(); ++i) {
    EXPECT_EQ(std::bit_cast<std::uint64_t>(read[i]), std::bit_cast<std::uint64_t>(values[i]));
  }
}

class MemberLedgerTest : public ManifestTest {
 protected:
  const std::string recipe_ = std::string(64, '1');
  MemberLedger ledger_{folder_, recipe_};
};

TEST_F(MemberLedgerTest, ARestartAdoptsWhatIsRightAndSealGathersIt) {
  EXPECT_THAT(ledger_.adopt(), IsEmpty());
  ledger_.commit("pass-00/b", raw("bbb"), {{"rows", 3}});
  ledger_.commit("pass-00/a", raw("aa"), {{"rows", 2}});
  const MemberLedger again(folder_, recipe_);
  const std::vector<Member> members = again.adopt();
  ASSERT_THAT(names(members), ElementsAre("pass-00/a", "pass-00/b"));
  EXPECT_EQ(members[1].facts.at("rows"), 3);
  EXPECT_FALSE(has_manifest(folder_));

  comm::Communicator communicator = comm::Communicator::single();
  Manifest manifest;
  manifest.kind = "logits";
  ledger_.seal(communicator, manifest);
  const Manifest sealed = read_manifest(folder_, "logits");
  EXPECT_EQ(sealed.recipe_hash, recipe_);
  EXPECT_THAT(names(sealed.members), ElementsAre("pass-00/a", "pass-00/b"));
  EXPECT_EQ(sealed.content_digest, content_digest(sealed));
  EXPECT_THAT(verify_members(folder_, sealed), IsEmpty());
  EXPECT_FALSE(std::filesystem::exists(folder_ / "members"));
  EXPECT_THAT(names(again.adopt()), ElementsAre("pass-00/a", "pass-00/b"));
}

TEST_F(MemberLedgerTest, AMemberWithoutRecordIsNotAdopted) {
  ledger_.commit("a", raw("aa"), {});
  std::filesystem::remove(folder_ / "members/a.json");  // killed between member and record
  EXPECT_THAT(ledger_.adopt(), IsEmpty());
  ledger_.commit("a", raw("aa"), {});
  EXPECT_THAT(names(ledger_.adopt()), ElementsAre("a"));
}

TEST_F(MemberLedgerTest, ABadMemberIsSetAside) {
  ledger_.commit("a", raw("aa"), {});
  ledger_.commit("b", raw("bb"), {});
  ledger_.commit("c", raw("cc"), {});
  overwrite(folder_ / "a", "aX");
  std::filesystem::remove(folder_ / "c");
  EXPECT_THAT(names(ledger_.adopt()), ElementsAre("b"));
  EXPECT_EQ(text_of(folder_ / "a.bad"), "aX");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "a"));
  EXPECT_THAT(names(ledger_.records()), ElementsAre("b"));
}

TEST_F(MemberLedgerTest, ADamagedRecordMakesItsMemberUnfinished) {
  ledger_.commit("a", raw("aa"), {});
  overwrite(folder_ / "members/a.json", "{");
  EXPECT_THAT(ledger_.adopt(), IsEmpty());
  ledger_.commit("b", raw("bb"), {});
  std::filesystem::rename(folder_ / "members/b.json", folder_ / "members/c.json");
  EXPECT_THAT(ledger_.adopt(), IsEmpty());
}

TEST_F(MemberLedgerTest, AnotherRecipeIsAUsageErrorThatSaysWhatToDo) {
  ledger_.commit("a", raw("aa"), {});
  const MemberLedger other(folder_, std::string(64, '2'));
  try {
    other.adopt();
    FAIL();
  } catch (const core::UsageError& error) {
    EXPECT_THAT(error.what(), HasSubstr("an unfinished result"));
    EXPECT_THAT(error.what(), HasSubstr("111111111111, now 222222222222"));
    EXPECT_THAT(error.what(), HasSubstr("choose another output folder"));
  }
  comm::Communicator communicator = comm::Communicator::single();
  ledger_.seal(communicator, logits_manifest());
  EXPECT_THROW(other.adopt(), core::UsageError);
}

TEST_F(MemberLedgerTest, DiscardRemovesWhatIsOnRecordAndNothingElse) {
  ledger_.commit("train/a", raw("aa"), {});
  ledger_.commit("b", raw("bb"), {});
  MemberLedger other(folder_, std::string(64, '2'));
  EXPECT_TRUE(other.holds_others());
  EXPECT_FALSE(ledger_.holds_others());
  overwrite(folder_ / "mine.txt", "kept");
  std::filesystem::remove(folder_ / "b");  // killed within an earlier discard
  other.discard();
  EXPECT_FALSE(std::filesystem::exists(folder_ / "train"));
  EXPECT_EQ(text_of(folder_ / "mine.txt"), "kept");
  EXPECT_THAT(other.adopt(), IsEmpty());
  other.commit("c", raw("cc"), {});
  comm::Communicator communicator = comm::Communicator::single();
  other.seal(communicator, logits_manifest());
  EXPECT_THROW(other.discard(), core::InternalError);
  EXPECT_EQ(text_of(folder_ / "c"), "cc");
}

TEST_F(MemberLedgerTest, ASealedFolderWithABadMemberIsOpenedForRepair) {
  ledger_.commit("a", raw("aa"), {});
  ledger_.commit("b", raw("bb"), {{"rows", 1}});
  comm::Communicator communicator = comm::Communicator::single();
  ledger_.seal(communicator, logits_manifest());
  const std::string before = text_of(folder_ / "manifest.json");
  overwrite(folder_ / "a", "aX");
  EXPECT_THAT(names(ledger_.adopt()), ElementsAre("b"));
  EXPECT_FALSE(has_manifest(folder_));
  ledger_.commit("a", raw("aa"), {});
  ledger_.seal(communicator, logits_manifest());
  EXPECT_EQ(text_of(folder_ / "manifest.json"), before);
}

TEST_F(MemberLedgerTest, SealRefusesAMemberThatVanished) {
  ledger_.commit("a", raw("aa"), {});
  std::filesystem::remove(folder_ / "a");
  comm::Communicator communicator = comm::Communicator::single();
  EXPECT_THROW(ledger_.seal(communicator, logits_manifest()), core::DataError);
  EXPECT_FALSE(has_manifest(folder_));
}

TEST_F(MemberLedgerTest, NamesAreChecked) {
  EXPECT_THROW(ledger_.commit("../a", raw("aa"), {}), core::DataError);
}

}  // namespace
}  // namespace retort::io
