// Characters rendered from installed fonts: many classes, few samples of each, nothing to download.
// A class is a character, a sample is (font, variant). Which fonts, and why: docs/glyphs.md.
#include <ft2build.h>
#include FT_FREETYPE_H

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <exception>
#include <set>
#include <thread>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"
#include "core/hash.h"
#include "core/random.h"
#include "io/atomic_file.h"
#include "io/sources/glyph_classes.h"
#include "io/sources/glyph_font.h"
#include "io/sources/source.h"

namespace retort::io {
namespace {

using core::DataError;
using core::UsageError;
namespace fs = std::filesystem;

constexpr std::string_view kPackages =
    "fonts-noto-core fonts-dejavu fonts-freefont-ttf fonts-liberation";

std::uint64_t fnv1a(std::span<const std::uint8_t> bytes) {
  std::uint64_t hash = 0xCBF29CE484222325u;
  for (const std::uint8_t byte : bytes) hash = (hash ^ byte) * 0x100000001B3u;
  return hash;
}

struct GlyphOptions {
  std::uint64_t characters = 1000;
  std::uint64_t min_fonts = 6;
  std::uint64_t variants = 0;
  std::vector<std::string> train = {"DejaVuSans",     "DejaVuSans-Bold",  "DejaVuSans-Oblique",
                                    "DejaVuSansMono", "DejaVuSerif",      "DejaVuSerif-Bold",
                                    "FreeSans",       "FreeMono",         "NotoSerif-Regular",
                                    "NotoSerif-Bold", "NotoSerif-Italic", "LiberationSans-Regular"};
  std::vector<std::string> validation = {"LiberationMono-Regular", "LiberationMono-Bold",
                                         "LiberationMono-Italic", "LiberationMono-BoldItalic"};
  std::vector<std::string> test = {"NotoSans-Regular",
                                   "NotoSans-Bold",
                                   "NotoSans-Italic",
                                   "NotoSans-BoldItalic",
                                   "FreeSerif",
                                   "FreeSerifBold",
                                   "FreeSerifItalic",
                                   "FreeSerifBoldItalic",
                                   "LiberationSerif-Regular",
                                   "LiberationSerif-Bold",
                                   "LiberationSerif-Italic",
                                   "LiberationSerif-BoldItalic"};
  std::vector<std::string> extra;        // none: no such split
  std::vector<std::string> class_fonts;  // empty: those of all splits
};

// A sample's name, "U+0041/DejaVuSans-Bold/2", says all that its rendering needs.
struct GlyphName {
  char32_t character = 0;
  std::string font;
  std::uint64_t variant = 0;  // 0: clean
  std::string text() const {
    return fmt::format("U+{:04X}/{}/{}", static_cast<std::uint32_t>(character), font, variant);
  }
  static GlyphName parse(std::string_view text) {
    const auto first = text.find('/'), last = text.rfind('/');
    GlyphName name;
    std::uint32_t code = 0;
    std::from_chars(text.data() + 2, text.data() + first, code, 16);
    std::from_chars(text.data() + last + 1, text.data() + text.size(), name.variant);
    name.character = code;
    name.font = text.substr(first + 1, last - first - 1);
    return name;
  }
};

// The study's amplitudes. A function of (seed, character, font, variant) alone.
GlyphVariant variant_of(const GlyphName& name, std::uint64_t seed) {
  GlyphVariant variant;
  if (name.variant == 0) return variant;
  std::uint64_t font = 0;
  const std::string hex = core::sha256_hex(name.font);
  std::from_chars(hex.data(), hex.data() + 16, font, 16);
  core::RandomStream draw(seed, core::RandomUse::augment,
                          {static_cast<std::uint64_t>(name.character), font, name.variant});
  variant.rotation = draw.uniform(-0.1f, 0.1f);
  variant.scale_x = draw.uniform(-0.12f, 0.12f);
  variant.scale_y = draw.uniform(-0.10f, 0.10f);
  variant.shear = draw.uniform(-0.18f, 0.18f);
  variant.shift_x = draw.uniform(-0.05f, 0.05f);
  variant.shift_y = draw.uniform(-0.04f, 0.04f);
  variant.embolden = draw.uniform(-0.0125f, 0.025f);
  return variant;
}

std::vector<fs::path> font_folders(const SourceRequest& request) {
  if (!request.path.empty()) return {request.path};
  return {"/usr/share/fonts", "/usr/local/share/fonts"};
}

class GlyphReader : public SampleReader {
 public:
  GlyphReader(std::map<std::string, fs::path> paths, std::uint64_t seed)
      : paths_(std::move(paths)), seed_(seed) {}

  void read(const Catalogue& catalogue, std::uint64_t item, SourceSample& sample) override {
    const GlyphName name = GlyphName::parse(catalogue.name(item));
    sample.shape = catalogue.shape;
    sample.bytes.resize(sample.shape.elements());
    auto font = fonts_.find(name.font);
    if (font == fonts_.end()) {
      const auto path = paths_.find(name.font);
      if (path == paths_.end())
        throw core::IoError(
            fmt::format("font {} is not installed on this host, but is where the "
                        "list was made; install {} everywhere",
                        name.font, kPackages));
      font = fonts_.emplace(name.font, GlyphFont(path->second, sample.shape.height)).first;
    }
    const std::span<std::uint8_t> pixels(reinterpret_cast<std::uint8_t*>(sample.bytes.data()),
                                         sample.bytes.size());
    if (!font->second.render(name.character, variant_of(name, seed_), pixels))
      throw DataError(fmt::format("{}: the rendering is empty", catalogue.name(item)));
  }

 private:
  std::map<std::string, fs::path> paths_;
  std::uint64_t seed_;
  std::map<std::string, GlyphFont> fonts_;
};

// All pictures of all fonts in use, as hashes.
class Atlas {
 public:
  Atlas(std::vector<std::string> fonts, const std::map<std::string, fs::path>& paths,
        std::uint32_t side, int threads)
      : fonts_(std::move(fonts)), by_font_(fonts_.size()) {
    std::atomic<std::size_t> next{0};
    std::vector<std::exception_ptr> errors(fonts_.size());
    const auto work = [&] {
      for (std::size_t i; (i = next.fetch_add(1)) < fonts_.size();) try {
          GlyphFont font(paths.at(fonts_[i]), side);
          std::vector<std::uint8_t> picture(std::size_t{side} * side);
          for (const char32_t c : font.characters())
            if (font.render(c, {}, picture)) by_font_[i].emplace(c, fnv1a(picture));
        } catch (...) {
          errors[i] = std::current_exception();
        }
    };
    {
      std::vector<std::jthread> workers;
      for (int i = 1; i < threads; ++i) workers.emplace_back(work);
      work();
    }
    for (const auto& error : errors)
      if (error) std::rethrow_exception(error);
  }

  /// Coverage with font indices into `fonts`.
  std::vector<CharacterCoverage> coverage(const std::vector<std::string>& fonts) const {
    std::map<char32_t, CharacterCoverage> table;
    for (std::uint32_t i = 0; i < fonts.size(); ++i)
      for (const auto& [character, hash] : of(fonts[i])) {
        table[character].character = character;
        table[character].pictures.push_back({i, hash});
      }
    std::vector<CharacterCoverage> list;
    list.reserve(table.size());
    for (auto& entry : table) list.push_back(std::move(entry.second));
    return list;
  }
  const std::map<char32_t, std::uint64_t>& of(const std::string& font) const {
    return by_font_[static_cast<std::size_t>(std::find(fonts_.begin(), fonts_.end(), font) -
                                             fonts_.begin())];
  }

 private:
  std::vector<std::string> fonts_;
  std::vector<std::map<char32_t, std::uint64_t>> by_font_;
};

class GlyphSource : public SampleSource {
 public:
  bool needs_path() const override { return false; }

  void declare(core::OptionTable& table) override {
    table.group("Source: glyphs");
    table.add("characters", &options_.characters,
              "classes: the characters that most fonts have, one per group of identical ones");
    table.add("min-fonts", &options_.min_fonts,
              "distinct pictures that a character needs in the training fonts");
    table.add("variants", &options_.variants,
              "fixed deformed renderings of each sample of train and extra beside the clean one");
    table.add("train-fonts", &options_.train, "file stems of the fonts of split train");
    table.add("validation-fonts", &options_.validation, "file stems of the fonts of validation");
    table.add("test-fonts", &options_.test, "file stems of the fonts of split test");
    table.add("extra-fonts", &options_.extra,
              "file stems of the fonts of split extra (for samples that only a teacher knows, or "
              "without labels); empty: none");
    table.add("class-fonts", &options_.class_fonts,
              "file stems of the fonts that decide which characters are classes, training fonts "
              "first; empty: those of all splits but extra");
  }

  std::vector<fs::path> found_files(const SourceRequest& request) const override {
    std::vector<fs::path> files;
    if (!request.path.empty()) return files;
    const auto paths = find_fonts(font_folders(request));
    for (const auto& font : used_fonts())
      if (const auto path = paths.find(font); path != paths.end()) files.push_back(path->second);
    return files;
  }

  Catalogue list(const SourceRequest& request) const override {
    const std::uint32_t side = check(request);
    const std::vector<std::string> used = used_fonts();
    const auto paths = find_fonts(font_folders(request));
    check_installed(used, paths, request);
    const Atlas atlas(used, paths, side, request.threads);
    const std::vector<std::string> deciding = deciding_fonts();
    const std::uint64_t training =
        options_.class_fonts.empty() ? options_.train.size() : deciding.size();
    const ClassChoice choice =
        choose_characters(atlas.coverage(deciding), static_cast<std::uint32_t>(training),
                          options_.min_fonts, options_.characters);
    if (choice.characters.size() < options_.characters)
      throw DataError(fmt::format(
          "--characters {}: these fonts have {} characters with at least "
          "{} distinct pictures ({} more are identical to one of them); "
          "ask for fewer, or lower --min-fonts",
          options_.characters, choice.characters.size(), options_.min_fonts, choice.merged));
    Catalogue catalogue;
    catalogue.shape = {side, side, 1};
    catalogue.classes_are_chosen = true;
    for (const char32_t c : choice.characters) catalogue.class_names.push_back(character_name(c));
    fill(catalogue, choice.characters, atlas);
    describe(catalogue, choice, used, paths);
    return catalogue;
  }

  std::unique_ptr<SampleReader> open(const SourceRequest& request,
                                     const Catalogue&) const override {
    return std::make_unique<GlyphReader>(find_fonts(font_folders(request)), request.seed);
  }

 private:
  std::uint32_t check(const SourceRequest& request) const {
    const ImageShape& shape = request.shape;
    if (shape.height != shape.width)
      throw UsageError(fmt::format("--size {}x{}: glyphs are square", shape.height, shape.width));
    const std::uint32_t side = shape.height == 0 ? 24 : shape.height;
    if (side < 8 || side > 512)
      throw UsageError(fmt::format("--size {}: glyphs have sides of 8 to 512 pixels", side));
    if (options_.train.empty()) throw UsageError("--train-fonts is empty: name at least one font");
    std::set<std::string> seen;
    for (const auto* list : splits())
      for (const auto& font : *list)
        if (!seen.insert(font).second)
          throw UsageError(fmt::format("font {} stands in two splits or twice in one", font));
    if (options_.characters < 2) throw UsageError("--characters: at least 2 classes are needed");
    return side;
  }

  std::vector<const std::vector<std::string>*> splits() const {
    return {&options_.train, &options_.validation, &options_.test, &options_.extra};
  }

  std::vector<std::string> used_fonts() const {
    std::vector<std::string> fonts;
    std::set<std::string> seen;
    auto lists = splits();
    lists.push_back(&options_.class_fonts);
    for (const auto* list : lists)
      for (const auto& font : *list)
        if (seen.insert(font).second) fonts.push_back(font);
    return fonts;
  }

  std::vector<std::string> deciding_fonts() const {
    if (!options_.class_fonts.empty()) return options_.class_fonts;
    std::vector<std::string> fonts = options_.train;
    fonts.insert(fonts.end(), options_.validation.begin(), options_.validation.end());
    fonts.insert(fonts.end(), options_.test.begin(), options_.test.end());
    return fonts;
  }

  static void check_installed(const std::vector<std::string>& fonts,
                              const std::map<std::string, fs::path>& paths,
                              const SourceRequest& request) {
    std::vector<std::string> missing;
    for (const auto& font : fonts)
      if (!paths.contains(font)) missing.push_back(font);
    if (missing.empty()) return;
    std::vector<std::string> folders, known;
    for (const auto& folder : font_folders(request)) folders.push_back(folder.string());
    for (const auto& entry : paths) known.push_back(entry.first);
    const std::string near = core::nearest_word(missing.front(), known);
    throw DataError(fmt::format(
        "font {} is not below {}{}{}; install the Debian packages {}, or choose other fonts",
        missing.front(), fmt::join(folders, " or "),
        missing.size() == 1 ? "" : fmt::format(" (nor are {} others)", missing.size() - 1),
        near.empty() ? "" : fmt::format("; there is {}", near), kPackages));
  }

  // A picture that a character has twice in a split is kept once (an Oblique is often its upright).
  // What extra shares with train, pixel by pixel, is nothing new, and what validation or test share
  // with either would measure memory: left out.
  void fill(Catalogue& catalogue, const std::vector<char32_t>& characters,
            const Atlas& atlas) const {
    struct Part {
      const char* name;
      const std::vector<std::string>* fonts;
      std::uint64_t variants;
      bool learnt;
      std::uint32_t split = 0;
    };
    std::vector<Part> parts = {{"train", &options_.train, options_.variants, true}};
    if (!options_.validation.empty())
      parts.push_back({"validation", &options_.validation, 0, false});
    if (!options_.test.empty()) parts.push_back({"test", &options_.test, 0, false});
    if (!options_.extra.empty())
      parts.push_back({"extra", &options_.extra, options_.variants, true});
    for (Part& part : parts) {
      part.split = static_cast<std::uint32_t>(catalogue.splits.size());
      catalogue.splits.emplace_back(part.name);
    }
    std::stable_sort(parts.begin(), parts.end(),
                     [](const Part& a, const Part& b) { return a.learnt > b.learnt; });
    std::uint64_t repeated = 0, leaked = 0;
    for (std::uint32_t label = 0; label < characters.size(); ++label) {
      std::set<std::uint64_t> learnt;
      for (const Part& part : parts) {
        std::set<std::uint64_t> seen;
        for (const auto& font : *part.fonts) {
          const auto& pictures = atlas.of(font);
          const auto picture = pictures.find(characters[label]);
          if (picture == pictures.end()) continue;
          if (!seen.insert(picture->second).second) {
            ++repeated;
            continue;
          }
          if (learnt.contains(picture->second)) {
            ++leaked;
            continue;
          }
          for (std::uint64_t v = 0; v <= part.variants; ++v)
            catalogue.add(GlyphName{characters[label], font, v}.text(), std::span(&label, 1),
                          part.split, catalogue.shape.elements());
        }
        if (part.learnt) learnt.insert(seen.begin(), seen.end());
      }
    }
    catalogue.facts["repeated_pictures"] = repeated;
    catalogue.facts["pictures_shared_with_train"] = leaked;
  }

  static void describe(Catalogue& catalogue, const ClassChoice& choice,
                       const std::vector<std::string>& fonts,
                       const std::map<std::string, fs::path>& paths) {
    catalogue.facts["candidates"] = choice.candidates;
    catalogue.facts["identical_characters"] = choice.merged;
    catalogue.facts["renderer"] =
        fmt::format("FreeType {}.{}.{}", FREETYPE_MAJOR, FREETYPE_MINOR, FREETYPE_PATCH);
    core::Sha256 origin;
    origin.update(
        fmt::format("glyphs {} {}", kGlyphVersion, catalogue.facts["renderer"].get<std::string>()));
    for (const auto& font : fonts) {
      const std::string hash = core::sha256_hex(read_file(paths.at(font)));
      origin.update(font).update(hash);
      catalogue.facts["fonts"][font] = hash;
    }
    catalogue.origin = origin.hex();
  }

  GlyphOptions options_;
};

}  // namespace

std::unique_ptr<SampleSource> make_glyph_source() { return std::make_unique<GlyphSource>(); }

}  // namespace retort::io
