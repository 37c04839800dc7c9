#include "io/sources/glyph_font.h"

#include <ft2build.h>
#include FT_FREETYPE_H
#include FT_BBOX_H
#include FT_OUTLINE_H
#include FT_TRUETYPE_TABLES_H

#include <algorithm>
#include <cmath>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "core/error.h"

namespace retort::io {
namespace {

constexpr double kCapHeight = 0.46;  // of the side
constexpr double kBaseline = 0.30;   // of the side, from below
constexpr int kEmptyBelow = 24;      // thin glyphs at 24 pixels hardly get darker

bool is_candidate(char32_t c) {
  const std::pair<char32_t, char32_t> excluded[] = {
      {0x0000, 0x0020}, {0x007F, 0x00A0}, {0x00AD, 0x00AD}, {0x034F, 0x034F}, {0x061C, 0x061C},
      {0x115F, 0x1160}, {0x17B4, 0x17B5}, {0x180B, 0x180F}, {0x2000, 0x200F}, {0x2028, 0x202F},
      {0x205F, 0x206F}, {0x2800, 0x2800}, {0x3000, 0x3000}, {0x3164, 0x3164}, {0xD800, 0xF8FF},
      {0xFE00, 0xFE0F}, {0xFEFF, 0xFEFF}, {0xFFA0, 0xFFA0}, {0xFFF0, 0xFFFF}, {0xE0000, 0x10FFFF}};
  return std::none_of(std::begin(excluded), std::end(excluded),
                      [&](const auto& range) { return c >= range.first && c <= range.second; });
}

// Without scaling: points in font units, so FreeType rounds nothing and refuses no size.
bool load_outline(FT_Face face, char32_t character) {
  const FT_UInt glyph = FT_Get_Char_Index(face, character);
  return glyph != 0 && FT_Load_Glyph(face, glyph, FT_LOAD_NO_SCALE | FT_LOAD_NO_BITMAP) == 0 &&
         face->glyph->format == FT_GLYPH_FORMAT_OUTLINE;
}

double top_of(FT_Face face, char32_t character) {
  FT_BBox box;
  if (!load_outline(face, character) || FT_Outline_Get_BBox(&face->glyph->outline, &box) != 0)
    return 0;
  return static_cast<double>(box.yMax);
}

// In font units. Fonts without H (scripts, symbols) fall back on x, the table, the em.
double cap_height(FT_Face face) {
  if (const double top = top_of(face, U'H'); top > 0) return top;
  if (const double top = top_of(face, U'x'); top > 0) return top * 1.4;
  const auto* table = static_cast<const TT_OS2*>(FT_Get_Sfnt_Table(face, FT_SFNT_OS2));
  if (table && table->version >= 2 && table->sCapHeight > 0) return table->sCapHeight;
  return 0.7 * face->units_per_EM;
}

FT_Pos to_26_6(double pixels) { return static_cast<FT_Pos>(std::lround(pixels * 64)); }

}  // namespace

struct GlyphFont::State {
  FT_Library library = nullptr;
  FT_Face face = nullptr;
  std::uint32_t side = 0;
  double scale = 0;  // pixels per font unit
  ~State() {
    if (face) FT_Done_Face(face);
    if (library) FT_Done_FreeType(library);
  }
};

GlyphFont::GlyphFont(const std::filesystem::path& path, std::uint32_t side)
    : state_(std::make_unique<State>()) {
  State& s = *state_;
  s.side = side;
  if (FT_Init_FreeType(&s.library) != 0)
    throw core::InternalError("FreeType does not start: out of memory?");
  const auto fail = [&](const char* reason) {
    return core::DataError(fmt::format("{}: {}; leave this font out", path.string(), reason));
  };
  if (FT_New_Face(s.library, path.c_str(), 0, &s.face) != 0)
    throw fail("FreeType cannot read this font");
  if (!FT_IS_SCALABLE(s.face) || s.face->units_per_EM == 0) throw fail("the font has no outlines");
  if (FT_Select_Charmap(s.face, FT_ENCODING_UNICODE) != 0)
    throw fail("the font has no Unicode map");
  s.scale = kCapHeight * side / cap_height(s.face);
}

GlyphFont::~GlyphFont() = default;
GlyphFont::GlyphFont(GlyphFont&&) noexcept = default;

std::vector<char32_t> GlyphFont::characters() const {
  std::vector<char32_t> list;
  FT_UInt glyph = 0;
  for (FT_ULong c = FT_Get_First_Char(state_->face, &glyph); glyph != 0;
       c = FT_Get_Next_Char(state_->face, c, &glyph))
    if (is_candidate(static_cast<char32_t>(c))) list.push_back(static_cast<char32_t>(c));
  return list;
}

bool GlyphFont::render(char32_t character, const GlyphVariant& variant,
                       std::span<std::uint8_t> out) {
  State& s = *state_;
  const double side = s.side;
  if (out.size() != std::size_t{s.side} * s.side)
    throw core::InternalError("a glyph's picture has another size than its font was opened for");
  std::fill(out.begin(), out.end(), std::uint8_t{0});
  if (!load_outline(s.face, character)) return false;
  FT_Outline& outline = s.face->glyph->outline;
  if (outline.n_points == 0) return false;

  // Font units -> pixels, deformed about the middle of the cap height; x is centred below.
  const double middle = kCapHeight * side / 2;
  const double sine = std::sin(variant.rotation), cosine = std::cos(variant.rotation);
  for (int i = 0; i < outline.n_points; ++i) {
    FT_Vector& point = outline.points[i];
    double x = static_cast<double>(point.x) * s.scale * (1 + variant.scale_x);
    const double y = (static_cast<double>(point.y) * s.scale - middle) * (1 + variant.scale_y);
    x += variant.shear * y;
    point.x = to_26_6(cosine * x - sine * y);
    point.y = to_26_6(sine * x + cosine * y + middle);
  }
  if (variant.embolden != 0) FT_Outline_Embolden(&outline, to_26_6(variant.embolden * side));

  FT_BBox box;
  if (FT_Outline_Get_BBox(&outline, &box) != 0 || box.xMax <= box.xMin || box.yMax <= box.yMin)
    return false;
  const FT_Pos full = to_26_6(side), baseline = to_26_6(kBaseline * side);
  double shrink =
      std::min(1.0, static_cast<double>(full) / static_cast<double>(box.xMax - box.xMin));
  if (box.yMax > 0)
    shrink = std::min(shrink, static_cast<double>(full - baseline) / static_cast<double>(box.yMax));
  if (box.yMin < 0)
    shrink = std::min(shrink, static_cast<double>(baseline) / static_cast<double>(-box.yMin));
  if (shrink < 1) {
    const auto factor = static_cast<FT_Fixed>(std::floor(shrink * 65536));
    const FT_Matrix matrix{factor, 0, 0, factor};
    FT_Outline_Transform(&outline, &matrix);
    if (FT_Outline_Get_BBox(&outline, &box) != 0) return false;
  }
  FT_Outline_Translate(&outline,
                       full / 2 - (box.xMin + box.xMax) / 2 + to_26_6(variant.shift_x * side),
                       baseline + to_26_6(variant.shift_y * side));

  FT_Bitmap bitmap{};
  bitmap.rows = bitmap.width = s.side;
  bitmap.pitch = static_cast<int>(s.side);
  bitmap.buffer = out.data();
  bitmap.pixel_mode = FT_PIXEL_MODE_GRAY;
  bitmap.num_grays = 256;
  if (FT_Outline_Get_Bitmap(s.library, &outline, &bitmap) == 0 &&
      *std::max_element(out.begin(), out.end()) >= kEmptyBelow)
    return true;
  std::fill(out.begin(), out.end(), std::uint8_t{0});
  return false;
}

std::map<std::string, std::filesystem::path> find_fonts(
    const std::vector<std::filesystem::path>& folders) {
  namespace fs = std::filesystem;
  std::map<std::string, fs::path> fonts;
  for (const auto& folder : folders) {
    std::vector<fs::path> files;
    std::error_code error;
    fs::recursive_directory_iterator entries(folder, fs::directory_options::skip_permission_denied,
                                             error);
    while (!error && entries != fs::recursive_directory_iterator()) {
      const std::string end = entries->path().extension().string();
      if (end == ".ttf" || end == ".otf") files.push_back(entries->path());
      entries.increment(error);
    }
    std::sort(files.begin(), files.end());
    for (const auto& file : files) fonts.emplace(file.stem().string(), file);
  }
  return fonts;
}

}  // namespace retort::io
