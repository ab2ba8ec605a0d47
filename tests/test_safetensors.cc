#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "core/bf16.h"
#include "core/error.h"
#include "core/half.h"
#include "core/safetensors.h"
#include "tests/temporary.h"

namespace engine::test::test_safetensors {

namespace fs = std::filesystem;

namespace {

std::string with_header(const std::string& header, size_t data_bytes) {
  uint64_t length = header.size();
  std::string file(sizeof length, ' ');
  std::memcpy(file.data(), &length, sizeof length);
  return file + header + std::string(data_bytes, 'x');
}

// Returns the error that opening a file of these bytes gives.
std::string error_of(const std::string& bytes) {
  const TemporaryFolder folder;
  write_file(folder.path() / "file", bytes);
  try {
    Safetensors::open(folder.path() / "file");
  } catch (const Error& error) {
    const std::string text = error.what();
    CHECK(text.find((folder.path() / "file").string()) != std::string::npos);
    CHECK(text.find('\n') == std::string::npos);
    return text;
  }
  return "";
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

std::string tensor(const std::string& name, const std::string& dtype, const std::string& shape, size_t begin,
                   size_t end) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":[" +
         std::to_string(begin) + "," + std::to_string(end) + "]}";
}

SafetensorsItem item(const std::string& name, const std::string& dtype, const std::vector<int64_t>& shape,
                     const std::vector<float>& values) {
  return {name, dtype, shape, [=](char* to) { store_floats(values.data(), values.size(), dtype, to); }};
}

}  // namespace

TEST_CASE("safetensors: half precision and back, every value, ties to even") {
  int wrong = 0;
  for (uint32_t half = 0; half < 65536; ++half) {
    const uint32_t exponent = half >> 10 & 31u, fraction = half & 1023u;
    const double sign = half & 0x8000u ? -1 : 1;
    const float value = half_to_float(static_cast<uint16_t>(half));
    if (exponent == 31) {
      wrong += fraction ? !std::isnan(value) : !(value == static_cast<float>(sign) * INFINITY);
      wrong += fraction && !std::isnan(half_to_float(float_to_half(value)));
      continue;
    }
    const double expected = sign * (exponent ? std::ldexp(1024.0 + fraction, static_cast<int>(exponent) - 25)
                                             : std::ldexp(fraction, -24));
    wrong += static_cast<double>(value) != expected || std::signbit(value) != (sign < 0);
    wrong += float_to_half(value) != half;
    if ((half & 0x7fffu) == 0x7bffu) continue;
    // A number halfway between two goes to the even one, a little off it to the nearer one.
    const float next = half_to_float(static_cast<uint16_t>(half + 1)), middle = (value + next) / 2;
    wrong += float_to_half(middle) != (half % 2 ? half + 1 : half);
    wrong += float_to_half(std::nextafter(middle, value)) != half;
    wrong += float_to_half(std::nextafter(middle, next)) != half + 1;
  }
  CHECK(wrong == 0);
  CHECK(float_to_half(65519.996f) == 0x7bff);
  CHECK(float_to_half(65520.0f) == 0x7c00);
  CHECK(float_to_half(-INFINITY) == 0xfc00);
}

TEST_CASE("safetensors: what is written is read back, aligned, in every dtype") {
  const TemporaryFolder folder;
  const fs::path file = folder.path() / "model.safetensors";
  const std::vector<float> values = {1, -2.5f, 3.0000002f, 1e-30f, 65504, 0};
  write_safetensors(file,
                    {item("small", "F16", {3}, {1, 2, 3}), item("a \"name\"\n", "F32", {2, 3}, values),
                     item("rounded", "BF16", {6}, values), item("empty", "F32", {0, 4}, {}),
                     {"rows", "F32", {3, 2}, nullptr,
                      [](int64_t begin, int64_t end, char* to) {
                        for (int64_t i = 2 * begin; i < 2 * end; ++i) {
                          const float value = static_cast<float>(i);
                          std::memcpy(to + 4 * (i - 2 * begin), &value, 4);
                        }
                      }},
                     item("scalar", "F32", {}, {7}),
                     {"bytes", "U8", {5}, [](char* to) { std::memcpy(to, "hello", 5); }}},
                    {{"format", "pt"}, {"step", "3"}});
  const Safetensors read = Safetensors::open(file);
  CHECK(read.entries().size() == 7);
  CHECK(read.metadata() == std::map<std::string, std::string>{{"format", "pt"}, {"step", "3"}});
  CHECK(read.floats("a \"name\"\n") == values);
  CHECK(read.floats("small") == std::vector<float>{1, 2, 3});
  CHECK(read.floats("rows") == std::vector<float>{0, 1, 2, 3, 4, 5});
  CHECK(read.floats("scalar") == std::vector<float>{7});
  CHECK(read.floats("empty").empty());
  CHECK(read.at("empty").shape == std::vector<int64_t>{0, 4});
  const std::vector<float> rounded = read.floats("rounded");
  for (size_t i = 0; i < values.size(); ++i) CHECK(rounded[i] == static_cast<float>(bf16(values[i])));
  CHECK(std::string(read.at("bytes").data, 5) == "hello");
  for (const auto& [name, entry] : read.entries())
    CHECK(reinterpret_cast<uintptr_t>(entry.data) % safetensors_size_of(entry.dtype) == 0);
  const std::string wrong_dtype = file.string() + ": tensor \"bytes\" holds U8, it should be F32, F16, BF16 or F64";
  CHECK_THROWS_WITH_AS(read.floats("bytes"), wrong_dtype.c_str(), Error);
  CHECK_THROWS_WITH_AS(read.at("other"), (file.string() + ": has no tensor \"other\"").c_str(), Error);
}

TEST_CASE("safetensors: the data begins at a multiple of 8, whatever the names' lengths") {
  const TemporaryFolder folder;
  for (size_t length = 1; length <= 8; ++length) {
    write_safetensors(folder.path() / "file", {item(std::string(length, 'a'), "F32", {1}, {1})});
    uint64_t header_bytes = 0;
    std::memcpy(&header_bytes, read_text(folder.path() / "file").data(), sizeof header_bytes);
    CHECK(header_bytes % 8 == 0);
  }
}

TEST_CASE("safetensors: rows are asked for in pieces that together are the tensor") {
  const TemporaryFolder folder;
  const int64_t rows = 3001, cols = 999;
  size_t largest = 0;
  const auto fill = [&](int64_t begin, int64_t end, char* to) {
    std::vector<float> values(static_cast<size_t>((end - begin) * cols));
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(static_cast<int64_t>(i) + begin * cols);
    largest = std::max(largest, values.size() * sizeof(float));
    store_floats(values.data(), values.size(), "F32", to);
  };
  write_safetensors(folder.path() / "file", {{"x", "F32", {rows, cols}, nullptr, fill}});
  CHECK(largest < size_t{9} << 20);
  const std::vector<float> read = Safetensors::open(folder.path() / "file").floats("x");
  REQUIRE(read.size() == static_cast<size_t>(rows * cols));
  int64_t wrong = 0;
  for (size_t i = 0; i < read.size(); ++i) wrong += read[i] != static_cast<float>(i);
  CHECK(wrong == 0);
}

TEST_CASE("safetensors: what F16 cannot hold is an error that names the tensor, and no file is left") {
  const TemporaryFolder folder;
  for (float value : {65520.0f, -1e10f}) {
    std::string text;
    try {
      write_safetensors(folder.path() / "file", {item("gain", "F16", {2}, {1, value})});
    } catch (const Error& error) {
      text = error.what();
    }
    CHECK(text.find("gain") != std::string::npos);
    CHECK(text.find("F16") != std::string::npos);
  }
  CHECK(fs::is_empty(folder.path()));
  write_safetensors(folder.path() / "file", {item("gain", "F16", {2}, {INFINITY, 65519})});
  CHECK(Safetensors::open(folder.path() / "file").floats("gain") == std::vector<float>{INFINITY, 65504});
}

TEST_CASE("safetensors: hostile headers are refused") {
  const auto refused = [](const std::string& header, size_t data_bytes, const std::string& because) {
    const std::string error = error_of(with_header(header, data_bytes));
    INFO(header.substr(0, 200), " gave: ", error);
    CHECK(error.find(because) != std::string::npos);
  };
  const std::string good = "{" + tensor("a", "F32", "[2,3]", 0, 24) + "," + tensor("b", "F16", "[2]", 24, 28) + "}";
  CHECK(error_of(with_header(good, 28)) == "");
  CHECK(error_of(with_header(good + "     ", 28)) == "");
  CHECK(error_of(with_header("{}", 0)) == "");

  CHECK(error_of("").find("too few") != std::string::npos);
  CHECK(error_of("1234567").find("too few") != std::string::npos);
  for (size_t size = 8; size < with_header(good, 28).size(); ++size)
    REQUIRE(error_of(with_header(good, 28).substr(0, size)) != "");
  CHECK(has(error_of(std::string("\xff\xff\xff\xff\xff\xff\xff\xff{}", 10)), "more than 100000000"));
  CHECK(has(error_of(std::string("\x01\xe1\xf5\x05\0\0\0\0{}", 10)), "more than 100000000"));
  CHECK(has(error_of(std::string("\x03\0\0\0\0\0\0\0{}", 10)), "file ends after 2"));

  refused(" {}", 0, "does not begin with {");
  refused("{", 0, "JSON");
  refused("{}}", 0, "JSON");
  refused("{\"a\":" + std::string(100'000, '[') + std::string(100'000, ']') + "}", 0, "nested deeper");
  refused(good, 29, "29 bytes of data, but the tensors have 28");
  refused(good, 27, "bytes 24 to 28 of 27 bytes of data: the file is cut short");
  refused("{" + tensor("a", "F32", "[2]", 0, 8) + "," + tensor("b", "F32", "[2]", 4, 12) + "}", 12, "overlap");
  refused("{" + tensor("a", "F32", "[2]", 0, 8) + "," + tensor("b", "F32", "[2]", 0, 8) + "}", 8, "overlap");
  refused("{" + tensor("a", "F32", "[2]", 0, 8) + "," + tensor("b", "F32", "[2]", 12, 20) + "}", 20, "leave a gap");
  refused("{" + tensor("a", "F32", "[2]", 8, 16) + "}", 16, "leave a gap");
  refused("{" + tensor("a", "F32", "[2]", 8, 0) + "}", 8, "bytes 8 to 0");
  refused("{" + tensor("a", "F32", "[3]", 0, 8) + "}", 8, "have 12 bytes, its data_offsets 8");
  refused("{" + tensor("a", "F32", "[4611686018427387904,4]", 0, 0) + "}", 0, "more bytes than 2^63");
  refused("{" + tensor("a", "F32", "[4294967296,4294967296]", 0, 0) + "}", 0, "more bytes than 2^63");
  refused("{" + tensor("a", "F32", "[18446744073709551616]", 0, 0) + "}", 0, "dimension");
  refused("{" + tensor("a", "F32", "[18446744073709551615]", 0, 0) + "}", 0, "dimension");
  refused("{" + tensor("a", "F32", "[-2,-3]", 0, 24) + "}", 24, "dimension");
  refused("{" + tensor("a", "F32", "[2.0]", 0, 8) + "}", 8, "dimension");
  refused("{" + tensor("a", "F32", "2", 0, 8) + "}", 8, "\"shape\" should be a list");
  refused("{" + tensor("a", "F32", "[1]", 0, 8) + "}", 8, "have 4 bytes, its data_offsets 8");
  refused("{" + tensor("a", "F31", "[2]", 0, 8) + "}", 8, "dtype \"F31\" is unknown");
  refused("{" + tensor("a", "F32", "[2]", 0, 8) + "," + tensor("a", "F32", "[2]", 8, 16) + "}", 16, "twice");
  refused("{" + tensor("\xff\xfe", "F32", "[2]", 0, 8) + "}", 8, "JSON");
  refused("{\"a\":[]}", 0, "should be an object");
  refused("{\"a\":{}}", 0, "\"dtype\" is missing");
  refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, "\"data_offsets\" is missing");
  refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0]}}", 8, "should be [begin, end]");
  refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,-8]}}", 8, "data offset");
  refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"more\":1}}", 8, "nothing else");
  refused("{\"__metadata__\":{\"a\":1}}", 0, "it should be a string");
  refused("{\"__metadata__\":1}", 0, "__metadata__");
  const TemporaryFolder folder;
  const std::string header = "{\"__metadata__\":null}  ";
  std::string bytes(8, '\0');
  bytes[0] = static_cast<char>(header.size());
  write_file(folder.path() / "null.safetensors", bytes + header);
  CHECK(Safetensors::open(folder.path() / "null.safetensors").metadata().empty());
}

TEST_CASE("safetensors: shards by an index") {
  const TemporaryFolder folder;
  const fs::path index = folder.path() / "model.safetensors.index.json";
  write_safetensors(folder.path() / "one", {item("a", "F32", {2}, {1, 2})});
  write_safetensors(folder.path() / "two", {item("b", "BF16", {1}, {3}), item("c", "F32", {1}, {4})});
  const auto error = [&](const std::string& weight_map) -> std::string {
    write_file(index, "{\"metadata\":{\"total_size\":14},\"weight_map\":" + weight_map + "}");
    try {
      const Safetensors read = Safetensors::open(index);
      CHECK(read.entries().size() == 3);
      CHECK(read.floats("a") == std::vector<float>{1, 2});
      CHECK(read.floats("b") == std::vector<float>{3});
      CHECK(read.floats("c") == std::vector<float>{4});
    } catch (const Error& failure) {
      return failure.what();
    }
    return "";
  };
  CHECK(error(R"({"a":"one","b":"two","c":"two"})") == "");
  CHECK(has(error(R"({"a":"one","b":"two"})"), "has a tensor \"c\""));
  CHECK(has(error(R"({"a":"one","b":"two","c":"two","d":"one"})"), "lacks tensor \"d\""));
  CHECK(has(error(R"({"a":"two","b":"two","c":"one"})"), "lacks tensor \"a\""));
  CHECK(has(error(R"({"a":"one","b":"three","c":"three"})"), "No such file"));
  CHECK(has(error(R"({"a":"../one","b":"two","c":"two"})"), "is no file name in this folder"));
  CHECK(has(error(R"({"a":"/etc/passwd","b":"two","c":"two"})"), "is no file name in this folder"));
  CHECK(has(error(R"({"a":"one\u0000","b":"two","c":"two"})"), "is no file name in this folder"));
  CHECK(has(error(R"({"a":1,"b":"two","c":"two"})"), "should be a string"));
  CHECK(has(error("[]"), "weight_map"));
  write_safetensors(folder.path() / "two", {item("b", "BF16", {1}, {3}), item("a", "F32", {1}, {4})});
  CHECK(has(error(R"({"a":"one","b":"two"})"), "is in "));
}

}  // namespace engine::test::test_safetensors
