// Event files are read back by a decoder that shares nothing with the writer but crc32c, which has known values.
#include <doctest/doctest.h>

#include <cstring>

#include "core/files.h"
#include "tests/temporary.h"
#include "training/tensorboard.h"

namespace engine::test::test_tensorboard {

namespace {

struct Event {
  double wall_time = 0;
  uint64_t step = 0;
  std::string version;
  uint64_t session_status = 0;
  std::vector<std::pair<std::string, float>> values;
};

struct Decoder {
  std::string_view rest;

  template <class Number>
  Number raw() {
    REQUIRE(rest.size() >= sizeof(Number));
    Number value;
    std::memcpy(&value, rest.data(), sizeof value);
    rest.remove_prefix(sizeof value);
    return value;
  }
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
      const uint8_t byte = raw<uint8_t>();
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  }
  std::string_view bytes(uint64_t count) {
    REQUIRE(rest.size() >= count);
    const std::string_view result = rest.substr(0, count);
    rest.remove_prefix(count);
    return result;
  }
};

uint32_t masked(std::string_view bytes) {
  const uint32_t crc = crc32c(bytes);
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

void decode_value(std::string_view message, Event& event) {
  Decoder decoder{message};
  std::pair<std::string, float> value;
  while (!decoder.rest.empty()) {
    const uint64_t key = decoder.varint();
    if (key == (1 << 3 | 2)) value.first = decoder.bytes(decoder.varint());
    else if (key == (2 << 3 | 5)) value.second = decoder.raw<float>();
    else FAIL("unknown field of a value");
  }
  event.values.push_back(value);
}

Event decode_event(std::string_view message) {
  Event event;
  Decoder decoder{message};
  while (!decoder.rest.empty()) {
    const uint64_t key = decoder.varint();
    if (key == (1 << 3 | 1)) event.wall_time = decoder.raw<double>();
    else if (key == (2 << 3)) event.step = decoder.varint();
    else if (key == (3 << 3 | 2)) event.version = decoder.bytes(decoder.varint());
    else if (key == (5 << 3 | 2)) {
      Decoder summary{decoder.bytes(decoder.varint())};
      while (!summary.rest.empty()) {
        CHECK(summary.varint() == (1 << 3 | 2));
        decode_value(summary.bytes(summary.varint()), event);
      }
    } else if (key == (7 << 3 | 2)) {
      Decoder session{decoder.bytes(decoder.varint())};
      CHECK(session.varint() == 1 << 3);
      event.session_status = session.varint();
    } else {
      FAIL("unknown field of an event");
    }
  }
  return event;
}

std::vector<Event> events_of(const std::filesystem::path& file) {
  const std::string content = read_text(file);
  std::vector<Event> events;
  Decoder decoder{content};
  while (!decoder.rest.empty()) {
    const std::string_view length_bytes = decoder.rest.substr(0, 8);
    const uint64_t length = decoder.raw<uint64_t>();
    CHECK(decoder.raw<uint32_t>() == masked(length_bytes));
    const std::string_view message = decoder.bytes(length);
    CHECK(decoder.raw<uint32_t>() == masked(message));
    events.push_back(decode_event(message));
  }
  return events;
}

}  // namespace

TEST_CASE("tensorboard: CRC-32C has its published values") {
  CHECK(crc32c("") == 0);
  CHECK(crc32c("123456789") == 0xe3069283u);
  CHECK(crc32c(std::string(32, '\0')) == 0x8a9136aau);  // RFC 3720, B.4
  CHECK(crc32c(std::string(32, '\xff')) == 0x62a8ab43u);
}

TEST_CASE("tensorboard: event files hold what was written") {
  const TemporaryFolder folder;
  const EventWriter other(folder.path(), 0);  // another file, made in the same second
  EventWriter writer(folder.path(), 300);
  CHECK(other.path() != writer.path());
  writer.add(301, "train", {{"loss", 2.5}, {"learning_rate", 1e-3}});
  writer.add(70000, "eval", {{std::string(200, 'x'), -1}});
  const std::vector<Event> events = events_of(writer.path());
  REQUIRE(events.size() == 4);
  CHECK(events[0].version == "brain.Event:2");
  CHECK(events[0].wall_time > 1e9);
  CHECK(events[1].session_status == 1);
  CHECK(events[1].step == 301);
  CHECK(events[2].step == 301);
  using Values = std::vector<std::pair<std::string, float>>;
  CHECK(events[2].values == Values{{"train/loss", 2.5f}, {"train/learning_rate", 1e-3f}});
  CHECK(events[3].step == 70000);
  CHECK(events[3].values == Values{{"eval/" + std::string(200, 'x'), -1.0f}});
  CHECK(events_of(other.path()).size() == 1);
}

}  // namespace engine::test::test_tensorboard
