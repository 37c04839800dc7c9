#include "io/hdf5.h"

#include <chrono>
#include <cstring>
#include <functional>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/hash.h"
#include "core/random.h"

// libhdf5 1.10.8 loses 424 bytes each time it refuses a damaged image; no leak of ours.
extern "C" const char* __lsan_default_suppressions() { return "leak:libhdf5"; }

namespace retort::io {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

template <class T>
std::span<const std::byte> raw(const std::vector<T>& values) {
  return std::as_bytes(std::span(values));
}

// A file with everything that the formats use; `groups` > 8 switches HDF5 to dense storage.
std::vector<std::byte> sample_image(int groups = 3) {
  Hdf5Writer writer("sample", 2);
  writer.attribute("", "name", "Żółw");
  writer.attribute("", "empty", "");
  writer.attribute("", "samples", std::uint64_t{1} << 40);
  writer.attribute("", "mean", 0.1307);
  const std::vector<std::uint64_t> counts{1, 2, 3};
  const std::vector<double> temperatures{1, 2.5};
  writer.attribute("", "counts", counts);
  writer.attribute("", "temperatures", temperatures);
  writer.attribute("", "none", std::span<const std::uint64_t>());
  const std::vector<float> f32{1.5f, -2.25f, 0.f, 3e-39f, 7.f, 8.f};
  for (int i = 0; i < groups; ++i) {
    const std::string path = "tensors/layer" + std::to_string(i) + ".weight";
    const std::vector<std::uint64_t> shape{2, 3};
    writer.dataset(path, DType::f32, shape, raw(f32));
    writer.attribute(path, "index", static_cast<std::uint64_t>(i));
  }
  const std::vector<std::uint16_t> half{0x3c00, 0xc100};  // 1, -2.5
  const std::vector<std::uint64_t> two{2};
  writer.dataset("half", DType::f16, two, raw(half));
  writer.dataset("u8", DType::u8, two, raw(std::vector<std::uint8_t>{1, 255}));
  writer.dataset("i64", DType::i64, two, raw(std::vector<std::int64_t>{-1, 5}));
  const std::vector<std::uint64_t> nothing{0, 4};
  writer.dataset("nothing", DType::u32, nothing, {});
  writer.dataset("scalar", DType::f64, {}, raw(std::vector<double>{42.5}));
  writer.strings("classes", {"a", "ß", "", "longer name"});
  writer.strings("no_classes", {});
  return writer.finish();
}

TEST(Hdf5, EverythingComesBack) {
  const Hdf5Reader reader(sample_image(), "f.h5", "sample", 2);
  EXPECT_EQ(reader.format_version(), 2u);
  EXPECT_EQ(reader.text("", "retort_kind"), "sample");
  EXPECT_EQ(reader.text("", "name"), "Żółw");
  EXPECT_EQ(reader.text("", "empty"), "");
  EXPECT_EQ(reader.number("", "samples"), std::uint64_t{1} << 40);
  EXPECT_EQ(reader.real("", "mean"), 0.1307);
  EXPECT_THAT(reader.numbers("", "counts"), ElementsAre(1, 2, 3));
  EXPECT_THAT(reader.reals("", "temperatures"), ElementsAre(1, 2.5));
  EXPECT_TRUE(reader.numbers("", "none").empty());
  EXPECT_TRUE(reader.has("tensors"));
  EXPECT_TRUE(reader.has("tensors/layer1.weight"));
  EXPECT_FALSE(reader.has("tensors/layer9.weight"));
  EXPECT_FALSE(reader.has("no/such/path"));
  EXPECT_TRUE(reader.has_attribute("tensors/layer1.weight", "index"));
  EXPECT_FALSE(reader.has_attribute("tensors/layer1.weight", "x"));
  EXPECT_FALSE(reader.has_attribute("x", "x"));
  EXPECT_EQ(reader.number("tensors/layer2.weight", "index"), 2u);
  EXPECT_THAT(reader.shape("tensors/layer0.weight"), ElementsAre(2, 3));
  EXPECT_EQ(reader.dtype("tensors/layer0.weight"), DType::f32);
  EXPECT_THAT(reader.values<float>("tensors/layer0.weight"),
              ElementsAre(1.5f, -2.25f, 0.f, 3e-39f, 7.f, 8.f));
  EXPECT_EQ(reader.dtype("half"), DType::f16);
  EXPECT_EQ(reader.bytes("half").size(), 4u);
  EXPECT_THAT(reader.values<std::uint8_t>("u8"), ElementsAre(1, 255));
  EXPECT_THAT(reader.values<std::int64_t>("i64"), ElementsAre(-1, 5));
  EXPECT_THAT(reader.shape("nothing"), ElementsAre(0, 4));
  EXPECT_TRUE(reader.values<std::uint32_t>("nothing").empty());
  EXPECT_EQ(reader.offset("nothing"), 0u);
  EXPECT_TRUE(reader.shape("scalar").empty());
  EXPECT_THAT(reader.values<double>("scalar"), ElementsAre(42.5));
  EXPECT_THAT(reader.strings("classes"), ElementsAre("a", "ß", "", "longer name"));
  EXPECT_TRUE(reader.strings("no_classes").empty());
  EXPECT_THAT(
      reader.datasets(),
      ElementsAre("classes", "half", "i64", "no_classes", "nothing", "scalar",
                  "tensors/layer0.weight", "tensors/layer1.weight", "tensors/layer2.weight", "u8"));
  EXPECT_THAT(reader.attributes("tensors/layer0.weight"), ElementsAre("index"));
  EXPECT_EQ(reader.attributes("").size(), 9u);
}

TEST(Hdf5, OffsetIsWhereTheElementsAre) {
  const std::vector<std::byte> image = sample_image();
  const Hdf5Reader reader(image, "f.h5", "sample", 2);
  for (const std::string path : {"tensors/layer0.weight", "half", "u8", "i64", "scalar"}) {
    const std::vector<std::byte> bytes = reader.bytes(path);
    ASSERT_LE(reader.offset(path) + bytes.size(), image.size());
    EXPECT_EQ(std::memcmp(image.data() + reader.offset(path), bytes.data(), bytes.size()), 0);
  }
}

TEST(Hdf5, EqualContentGivesEqualBytes) {
  const std::vector<std::byte> first = sample_image(20);
  // Time passes, the heap is dirty and the library has done other things.
  { std::vector<std::byte> dirt(std::size_t{1} << 20, std::byte{0xa5}); }
  Hdf5Writer other("other", 1);
  other.dataset("x", DType::u8, std::vector<std::uint64_t>{3},
                raw(std::vector<std::uint8_t>{1, 2, 3}));
  std::this_thread::sleep_for(std::chrono::milliseconds(2100));
  const std::vector<std::byte> second = sample_image(20);
  other.finish();
  { const Hdf5Reader reader(first, "f.h5", "sample", 2); }
  const std::vector<std::byte> third = sample_image(20);
  EXPECT_TRUE(first == second);
  EXPECT_TRUE(first == third);
}

TEST(Hdf5, ManyThreadsWriteAndReadTheSame) {
  const std::vector<std::byte> expected = sample_image(12);
  std::vector<std::thread> threads;
  std::vector<int> good(4, 0);
  for (std::size_t t = 0; t < good.size(); ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 20; ++i) {
        const std::vector<std::byte> image = sample_image(12);
        const Hdf5Reader reader(image, "f.h5", "sample", 2);
        good[t] += image == expected && reader.values<float>("tensors/layer11.weight").size() == 6;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(good, ElementsAre(20, 20, 20, 20));
}

TEST(Hdf5, WrongKindVersionTypeAndPathAreDataErrors) {
  const std::vector<std::byte> image = sample_image();
  const auto message = [&](const std::function<void(Hdf5Reader&)>& work) -> std::string {
    Hdf5Reader reader(image, "dir/f.h5", "sample", 2);
    try {
      work(reader);
    } catch (const core::DataError& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_THROW(Hdf5Reader(image, "f.h5", "logits", 2), core::DataError);
  EXPECT_THROW(Hdf5Reader(image, "f.h5", "sample", 1), core::DataError);
  EXPECT_THAT(message([](auto& r) { r.bytes("none"); }), HasSubstr("dir/f.h5: dataset none"));
  EXPECT_THAT(message([](auto& r) { r.bytes("tensors"); }), HasSubstr("HDF5:"));
  EXPECT_THAT(message([](auto& r) { r.bytes(""); }), HasSubstr("missing"));
  EXPECT_THAT(message([](auto& r) { r.template values<double>("u8"); }), HasSubstr("holds u8"));
  EXPECT_THAT(message([](auto& r) { r.strings("u8"); }), HasSubstr("not fixed-length text"));
  EXPECT_THAT(message([](auto& r) { r.bytes("classes"); }), HasSubstr("element type"));
  EXPECT_THAT(message([](auto& r) { r.number("", "mean"); }), HasSubstr("not of type u64"));
  EXPECT_THAT(message([](auto& r) { r.real("", "samples"); }), HasSubstr("not of type f64"));
  EXPECT_THAT(message([](auto& r) { r.number("", "counts"); }), HasSubstr("not one number"));
  EXPECT_THAT(message([](auto& r) { r.text("", "none_such"); }), HasSubstr("none_such"));
  EXPECT_THAT(message([](auto& r) { r.attributes("none"); }), HasSubstr("missing"));
}

TEST(Hdf5, WritersRefuseWhatCannotBe) {
  Hdf5Writer writer("sample", 1);
  const std::vector<std::uint64_t> shape{3};
  EXPECT_THROW(writer.dataset("x", DType::f32, shape, raw(std::vector<float>{1, 2})),
               core::InternalError);
  const std::vector<std::uint64_t> huge{std::uint64_t{1} << 63, 4};
  EXPECT_THROW(writer.dataset("x", DType::f32, huge, {}), core::InternalError);
  EXPECT_THROW(writer.attribute("", "a", std::string_view("a\0b", 3)), core::DataError);
  EXPECT_THROW(writer.strings("s", {std::string("a\0", 2)}), core::DataError);
  EXPECT_THROW(writer.attribute("missing", "a", std::uint64_t{1}), core::InternalError);
  writer.dataset("x", DType::f32, shape, raw(std::vector<float>{1, 2, 3}));
  EXPECT_THROW(writer.dataset("x", DType::f32, shape, raw(std::vector<float>{1, 2, 3})),
               core::InternalError);
  EXPECT_THROW(writer.dataset("x/y", DType::f32, shape, raw(std::vector<float>{1, 2, 3})),
               core::InternalError);
  writer.finish();
  EXPECT_THROW(writer.finish(), core::InternalError);
}

TEST(Hdf5, LargeAttributesAndManyMembersWork) {
  Hdf5Writer writer("sample", 1);
  const std::string text(200000, 'x');
  writer.attribute("", "large", text);
  const std::vector<std::uint64_t> one{1};
  for (int i = 0; i < 1500; ++i) {
    writer.dataset("g" + std::to_string(i % 40) + "/d" + std::to_string(i), DType::u32, one,
                   raw(std::vector<std::uint32_t>{static_cast<std::uint32_t>(i)}));
  }
  const Hdf5Reader reader(writer.finish(), "f.h5", "sample", 1);
  EXPECT_EQ(reader.text("", "large"), text);
  EXPECT_EQ(reader.datasets().size(), 1500u);
  EXPECT_THAT(reader.values<std::uint32_t>("g3/d1483"), ElementsAre(1483u));
}

TEST(Hdf5, AMemberAboveTheLimitIsAnInternalError) {
  Hdf5Writer writer("sample", 1);
  const std::vector<std::byte> bytes(kMemberLimit + 1);
  const std::vector<std::uint64_t> shape{bytes.size()};
  EXPECT_THROW(writer.dataset("x", DType::u8, shape, bytes), core::InternalError);
}

// Reads everything that a reader can; DataError is the only way out besides success.
void read_all(std::vector<std::byte> image) {
  const Hdf5Reader reader(std::move(image), "f.h5", "sample", 2);
  for (const std::string& name : reader.attributes("")) {
    try {
      reader.text("", name);
    } catch (const core::DataError&) {
    }
    try {
      reader.numbers("", name);
    } catch (const core::DataError&) {
    }
    try {
      reader.reals("", name);
    } catch (const core::DataError&) {
    }
  }
  for (const std::string& path : reader.datasets()) {
    try {
      reader.offset(path);
      reader.bytes(path);
    } catch (const core::DataError&) {
    }
    try {
      reader.strings(path);
    } catch (const core::DataError&) {
    }
  }
}

bool gives_data_error(std::vector<std::byte> image) {
  try {
    read_all(std::move(image));
    return false;
  } catch (const core::DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr("f.h5"));
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
    return true;
  }
}

TEST(Hdf5, FlippedBitsNeverCrash) {
  int refused = 0;
  for (const int groups : {3, 20}) {
    const std::vector<std::byte> image = sample_image(groups);
    ASSERT_FALSE(gives_data_error(image));
    core::RandomStream random(7, core::RandomUse::test, {static_cast<std::uint64_t>(groups)});
    for (int i = 0; i < 3000; ++i) {
      std::vector<std::byte> bad = image;
      const std::uint64_t flips = 1 + random.below(4);
      for (std::uint64_t f = 0; f < flips; ++f) {
        bad[random.below(bad.size())] ^= std::byte{1} << random.below(8);
      }
      refused += gives_data_error(std::move(bad));
    }
  }
  EXPECT_GT(refused, 1000);  // metadata carries checksums; flips in raw data and gaps go through
}

TEST(Hdf5, OverwrittenStretchesNeverCrash) {
  const std::vector<std::byte> image = sample_image(20);
  core::RandomStream random(8, core::RandomUse::test, {});
  for (int i = 0; i < 1000; ++i) {
    std::vector<std::byte> bad = image;
    const std::uint64_t begin = random.below(bad.size());
    const std::uint64_t end = std::min<std::uint64_t>(bad.size(), begin + 1 + random.below(64));
    for (std::uint64_t k = begin; k < end; ++k) {
      bad[k] = static_cast<std::byte>(random.below(256));
    }
    gives_data_error(std::move(bad));
  }
}

TEST(Hdf5, TruncatedImagesAreDataErrors) {
  const std::vector<std::byte> image = sample_image(20);
  for (std::size_t size = 0; size < image.size(); size += size < 64 ? 1 : 37) {
    const std::vector<std::byte> cut(image.begin(),
                                     image.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_TRUE(gives_data_error(cut)) << size;
    EXPECT_THROW(kind_of(cut, "f.h5"), core::DataError) << size;
  }
}

TEST(Hdf5, KindOfTellsWhatAFileIs) {
  const Hdf5Kind kind = kind_of(sample_image(), "f.h5");
  EXPECT_EQ(kind.kind, "sample");
  EXPECT_EQ(kind.format_version, 2u);
  EXPECT_THROW(kind_of(std::vector<std::byte>(1000), "f.h5"), core::DataError);
}

TEST(Hdf5, NamesOfTypes) {
  for (const DType type : {DType::u8, DType::u16, DType::u32, DType::u64, DType::i32, DType::i64,
                           DType::f16, DType::f32, DType::f64}) {
    EXPECT_EQ(dtype_of(name_of(type)), type);
  }
  EXPECT_EQ(size_of(DType::f16), 2u);
  EXPECT_EQ(size_of(DType::u64), 8u);
  EXPECT_THROW(dtype_of("f8"), core::DataError);
}

}  // namespace
}  // namespace retort::io
