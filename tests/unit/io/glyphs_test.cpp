#include <cstring>
#include <map>
#include <numeric>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "io/sources/glyph_classes.h"
#include "io/sources/glyph_font.h"
#include "io/sources/source.h"

namespace retort::io {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::uint32_t kSide = 24;

std::map<std::string, std::filesystem::path> installed() {
  return find_fonts({"/usr/share/fonts", "/usr/local/share/fonts"});
}

struct Box {
  int left = kSide, right = -1, top = kSide, bottom = -1;
};

Box box_of(const std::vector<std::uint8_t>& picture, int from = 1) {
  Box box;
  for (int y = 0; y < static_cast<int>(kSide); ++y)
    for (int x = 0; x < static_cast<int>(kSide); ++x)
      if (picture[static_cast<std::size_t>(y) * kSide + static_cast<std::size_t>(x)] >= from) {
        box.left = std::min(box.left, x), box.right = std::max(box.right, x);
        box.top = std::min(box.top, y), box.bottom = std::max(box.bottom, y);
      }
  return box;
}

class GlyphFontTest : public testing::Test {
 protected:
  void SetUp() override {
    fonts = installed();
    for (const char* needed : {"DejaVuSans", "FreeSerif", "NotoSerif-Regular"})
      if (!fonts.contains(needed))
        GTEST_SKIP()
            << "font " << needed
            << " is not installed (Debian: fonts-dejavu fonts-freefont-ttf fonts-noto-core)";
  }
  std::vector<std::uint8_t> render(const std::string& font, char32_t c, GlyphVariant v = {}) {
    std::vector<std::uint8_t> picture(kSide * kSide);
    GlyphFont(fonts.at(font), kSide).render(c, v, picture);
    return picture;
  }
  std::map<std::string, std::filesystem::path> fonts;
};

TEST_F(GlyphFontTest, CapitalsStandOnTheBaselineAndAreCentred) {
  // Baseline 0.3 * 24 = 7.2 from below: row 16 is the last with ink; cap height 0.46 * 24 = 11.04.
  for (const char* font : {"DejaVuSans", "FreeSerif", "NotoSerif-Regular"}) {
    const Box box = box_of(render(font, U'H'), 60);
    EXPECT_EQ(box.bottom, 16) << font;
    EXPECT_NEAR(box.bottom - box.top + 1, 11, 1) << font;
    EXPECT_NEAR(box.left + box.right, static_cast<int>(kSide) - 1, 1) << font;
  }
  EXPECT_GT(box_of(render("DejaVuSans", U'g'), 60).bottom, 18);
}

TEST_F(GlyphFontTest, WhatIsTooBigIsShrunkIntoThePicture) {
  for (const char32_t c : {U'\uFDFA', U'\u222B', U'W', U'\u01C4', U'\u1EA8'}) {
    std::vector<std::uint8_t> picture(kSide * kSide);
    GlyphFont font(fonts.at("DejaVuSans"), kSide);
    if (!font.render(c, {}, picture)) continue;
    // Nothing was cut off: doubling the margin around it (shift) moves the same ink.
    const auto sum = [](const auto& p) { return std::accumulate(p.begin(), p.end(), 0); };
    GlyphVariant smaller;
    smaller.scale_x = smaller.scale_y = -0.5;
    std::vector<std::uint8_t> half(kSide * kSide);
    ASSERT_TRUE(font.render(c, smaller, half));
    EXPECT_GT(sum(picture), sum(half));
    EXPECT_LE(box_of(picture).right - box_of(picture).left, 23);
  }
}

TEST_F(GlyphFontTest, SpacesAndAbsentCharactersAreEmpty) {
  std::vector<std::uint8_t> picture(kSide * kSide, 9);
  GlyphFont font(fonts.at("DejaVuSans"), kSide);
  EXPECT_FALSE(font.render(U' ', {}, picture));
  EXPECT_THAT(picture, testing::Each(0));
  EXPECT_FALSE(font.render(U'\U0001D11E', {}, picture));
  const auto list = font.characters();
  EXPECT_TRUE(std::is_sorted(list.begin(), list.end()));
  EXPECT_EQ(std::count(list.begin(), list.end(), U'\u00AD'), 0);
  EXPECT_EQ(std::count(list.begin(), list.end(), U'A'), 1);
  EXPECT_GT(list.size(), 5000u);
}

TEST_F(GlyphFontTest, TheSameBytesAgain) {
  GlyphFont font(fonts.at("FreeSerif"), kSide);
  GlyphVariant variant;
  variant.rotation = 0.07, variant.shear = -0.1, variant.embolden = 0.02, variant.shift_x = 0.03;
  std::vector<std::uint8_t> first(kSide * kSide), again(kSide * kSide), clean(kSide * kSide);
  ASSERT_TRUE(font.render(U'R', variant, first));
  ASSERT_TRUE(font.render(U'Q', {}, clean));
  ASSERT_TRUE(font.render(U'R', variant, again));
  EXPECT_EQ(first, again);  // the deformed outline of one glyph does not leak into the next
  EXPECT_EQ(first, render("FreeSerif", U'R', variant));
  EXPECT_NE(first, render("FreeSerif", U'R'));
}

TEST_F(GlyphFontTest, VariantsDoWhatTheySay) {
  GlyphVariant variant;
  const auto sum = [](const auto& p) { return std::accumulate(p.begin(), p.end(), 0); };
  variant.embolden = 0.03;
  EXPECT_GT(sum(render("DejaVuSans", U'I', variant)), sum(render("DejaVuSans", U'I')) * 5 / 4);
  variant = {};
  variant.shift_x = 0.25;
  EXPECT_EQ(box_of(render("DejaVuSans", U'I', variant)).left,
            box_of(render("DejaVuSans", U'I')).left + 6);
  variant = {};
  variant.rotation = 1.5707963;
  const Box turned = box_of(render("DejaVuSans", U'I', variant), 60);
  EXPECT_GT(turned.right - turned.left, 8);
  EXPECT_LT(turned.bottom - turned.top, 4);
}

TEST(GlyphFont, RefusesWhatIsNoFont) {
  EXPECT_THROW(GlyphFont("/etc/passwd", kSide), core::DataError);
  EXPECT_THROW(GlyphFont("/nonexistent.ttf", kSide), core::DataError);
}

// --- classes ---------------------------------------------------------------------------------

CharacterCoverage coverage(char32_t c, const std::vector<std::pair<int, int>>& pictures) {
  CharacterCoverage one{c, {}};
  for (const auto& [font, hash] : pictures)
    one.pictures.push_back({static_cast<std::uint32_t>(font), static_cast<std::uint64_t>(hash)});
  return one;
}

TEST(ChooseCharacters, BestCoveredFirstThenByCodePoint) {
  const std::vector<CharacterCoverage> all = {coverage(U'a', {{0, 1}, {1, 2}}),
                                              coverage(U'b', {{0, 3}, {1, 4}, {2, 5}}),
                                              coverage(U'c', {{0, 6}, {2, 7}})};
  EXPECT_THAT(choose_characters(all, 3, 1, 2).characters, ElementsAre(U'a', U'b'));
  EXPECT_EQ(choose_characters(all, 3, 1, 9).characters.size(), 3u);
  EXPECT_THAT(choose_characters(all, 3, 3, 9).characters, ElementsAre(U'b'));
  // Only pictures of training fonts count for the minimum.
  EXPECT_THAT(choose_characters(all, 2, 2, 9).characters, ElementsAre(U'a', U'b'));
}

TEST(ChooseCharacters, RepeatedPicturesCountOnce) {
  const std::vector<CharacterCoverage> all = {coverage(U'a', {{0, 1}, {1, 1}, {2, 1}})};
  EXPECT_TRUE(choose_characters(all, 3, 2, 9).characters.empty());
}

TEST(ChooseCharacters, OneOfThoseIdenticalInHalfOfTheSharedFonts) {
  const auto latin = coverage(U'O', {{0, 1}, {1, 2}, {2, 3}, {3, 4}});
  const auto twin = coverage(U'o', {{0, 1}, {1, 2}, {2, 9}, {3, 8}});      // 2 of 4
  const auto cousin = coverage(U'p', {{0, 1}, {1, 7}, {2, 19}, {3, 18}});  // 1 of 4
  const auto small = coverage(U'q', {{3, 4}});                             // 1 of 1
  const ClassChoice choice = choose_characters({latin, twin, cousin, small}, 4, 1, 9);
  EXPECT_THAT(choice.characters, ElementsAre(U'O', U'p'));
  EXPECT_EQ(choice.merged, 2u);
  // The same hash in another font is another picture.
  EXPECT_EQ(choose_characters({coverage(U'a', {{0, 1}}), coverage(U'b', {{1, 1}})}, 2, 1, 9)
                .characters.size(),
            2u);
}

TEST(CharacterName, SaysCodePointAndCharacter) {
  EXPECT_EQ(character_name(U'A'), "U+0041 A");
  EXPECT_EQ(character_name(U'\u00E9'), "U+00E9 \xC3\xA9");
  EXPECT_EQ(character_name(U'\u2206'), "U+2206 \xE2\x88\x86");
  EXPECT_EQ(utf8(U'\U0001D11E'), "\xF0\x9D\x84\x9E");
}

// --- the source ------------------------------------------------------------------------------

class GlyphSourceTest : public GlyphFontTest {
 protected:
  Catalogue list(const std::map<std::string, std::string>& options, int threads = 1) {
    core::OptionTable table;
    for (const auto& entry : source_registry())
      if (entry.name == "glyphs") source = entry.make();
    source->declare(table);
    table.set("train-fonts", "DejaVuSans,DejaVuSans-Oblique,DejaVuSansMono");
    table.set("validation-fonts", "");
    table.set("test-fonts", "FreeSerif,NotoSerif-Regular");
    table.set("characters", "50");
    table.set("min-fonts", "2");
    for (const auto& [key, value] : options) table.set(key, value);
    request.threads = threads;
    return source->list(request);
  }
  std::string fault(const std::map<std::string, std::string>& options) {
    try {
      (void)list(options);
    } catch (const core::Error& e) {
      return std::to_string(static_cast<int>(e.code())) + " " + e.what();
    }
    return "no error";
  }
  SourceRequest request;
  std::unique_ptr<SampleSource> source;
};

TEST_F(GlyphSourceTest, ListsTheSameOnAnyNumberOfThreads) {
  const Catalogue one = list({});
  EXPECT_EQ(one.class_names.size(), 50u);
  EXPECT_THAT(one.splits, ElementsAre("train", "test"));
  EXPECT_EQ(one.serialise(), list({}, 3).serialise());
}

TEST_F(GlyphSourceTest, NoPictureTwiceAndNoneSharedWithTraining) {
  const Catalogue catalogue = list({{"characters", "300"}});
  const auto reader = source->open(request, catalogue);
  std::map<std::uint32_t, std::set<std::vector<std::byte>>> train;
  SourceSample sample;
  for (const std::uint32_t split : {0u, 1u})
    for (std::uint64_t i = 0; i < catalogue.size(); ++i) {
      if (catalogue.split(i) != split) continue;
      reader->read(catalogue, i, sample);
      auto& seen = train[catalogue.labels(i)[0]];
      EXPECT_TRUE(seen.insert(sample.bytes).second) << catalogue.name(i);
    }
  EXPECT_GT(catalogue.facts["repeated_pictures"].get<int>(), 0);  // obliques that are upright
}

TEST_F(GlyphSourceTest, VariantsAddToTrainingOnlyAndKeepTheClasses) {
  const Catalogue clean = list({});
  const auto count = [](const Catalogue& catalogue, std::uint32_t split) {
    std::uint64_t n = 0;
    for (std::uint64_t i = 0; i < catalogue.size(); ++i) n += catalogue.split(i) == split;
    return n;
  };
  const Catalogue varied = list({{"variants", "3"}});
  EXPECT_EQ(varied.class_names, clean.class_names);
  EXPECT_EQ(count(varied, 0), 4 * count(clean, 0));
  EXPECT_EQ(count(varied, 1), count(clean, 1));
  const auto reader = source->open(request, varied);
  std::set<std::vector<std::byte>> pictures;
  SourceSample sample;
  for (std::uint64_t i = 0; i < 4; ++i) {
    reader->read(varied, i, sample);
    pictures.insert(sample.bytes);
  }
  EXPECT_EQ(pictures.size(), 4u);
  SourceSample again;
  reader->read(varied, 2, again);
  reader->read(varied, 2, sample);
  EXPECT_EQ(again.bytes, sample.bytes);
  request.seed = 2;
  source->open(request, varied)->read(varied, 2, sample);
  EXPECT_NE(again.bytes, sample.bytes);
}

TEST_F(GlyphSourceTest, ExtraFontsMakeASplitOfTheirOwn) {
  const Catalogue plain = list({});
  const Catalogue more =
      list({{"extra-fonts", "DejaVuSansMono-Bold,FreeSansBold,DejaVuSans-Bold"}});
  EXPECT_EQ(more.class_names, plain.class_names);
  EXPECT_THAT(more.splits, ElementsAre("train", "test", "extra"));
  const auto reader = source->open(request, more);
  std::map<std::uint32_t, std::set<std::vector<std::byte>>> seen;
  SourceSample sample;
  std::uint64_t extra = 0;
  for (const std::uint32_t split : {0u, 2u, 1u})
    for (std::uint64_t i = 0; i < more.size(); ++i) {
      if (more.split(i) != split) continue;
      extra += split == 2 ? 1 : 0;
      reader->read(more, i, sample);
      EXPECT_TRUE(seen[more.labels(i)[0]].insert(sample.bytes).second) << more.name(i);
    }
  EXPECT_GT(extra, 100u);
  // The other splits are as without it.
  const auto of_split = [](const Catalogue& catalogue, std::uint32_t split) {
    std::vector<std::string> names;
    for (std::uint64_t i = 0; i < catalogue.size(); ++i)
      if (catalogue.split(i) == split) names.emplace_back(catalogue.name(i));
    return names;
  };
  EXPECT_EQ(of_split(more, 0), of_split(plain, 0));
  EXPECT_THAT(fault({{"extra-fonts", "DejaVuSans"}}), HasSubstr("stands in two splits"));
}

TEST_F(GlyphSourceTest, NamesWhatIsWrong) {
  EXPECT_THAT(fault({{"test-fonts", "FreeSherif"}}),
              testing::AllOf(testing::StartsWith("65 "), HasSubstr("FreeSherif"),
                             HasSubstr("there is FreeSerif"), HasSubstr("fonts-freefont-ttf")));
  EXPECT_THAT(fault({{"characters", "100000"}}), HasSubstr("ask for fewer"));
  EXPECT_THAT(fault({{"characters", "1"}}), testing::StartsWith("64 "));
  EXPECT_THAT(fault({{"train-fonts", ""}}), testing::StartsWith("64 "));
  EXPECT_THAT(fault({{"test-fonts", "DejaVuSans"}}), HasSubstr("stands in two splits"));
  request.shape = {24, 32, 0};
  EXPECT_THAT(fault({}), HasSubstr("square"));
}

TEST_F(GlyphSourceTest, TellsWhichFontFilesItReads) {
  (void)list({});
  const auto files = source->found_files(request);
  std::set<std::string> stems;
  for (const auto& file : files) stems.insert(file.stem().string());
  EXPECT_EQ(stems.size(), files.size());
  EXPECT_TRUE(stems.contains("DejaVuSans"));
  EXPECT_FALSE(stems.contains("no such font"));
  // Below --source the whole folder counts already.
  request.path = files.front().parent_path();
  EXPECT_TRUE(source->found_files(request).empty());
}

}  // namespace
}  // namespace retort::io
