#include "training/tensorboard.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include "training/append.h"
#include "training/run_folder.h"

namespace engine {

namespace {

constexpr std::array<uint32_t, 256> crc_table = [] {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t remainder = i;
    for (int bit = 0; bit < 8; ++bit) remainder = (remainder >> 1) ^ (remainder & 1 ? 0x82F63B78u : 0u);
    table[i] = remainder;
  }
  return table;
}();

double now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

template <class Number>
void append_raw(std::string& bytes, Number value) {
  char raw[sizeof value];
  std::memcpy(raw, &value, sizeof value);  // little endian, as all supported machines are
  bytes.append(raw, sizeof value);
}

void append_varint(std::string& bytes, uint64_t value) {
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>(value | 0x80);
  bytes += static_cast<char>(value);
}

// Appends a field of a protobuf message that is bytes, a string or a message itself.
void append_bytes(std::string& message, int field, std::string_view content) {
  append_varint(message, static_cast<uint64_t>(field) << 3 | 2);
  append_varint(message, content.size());
  message += content;
}

uint32_t masked_crc(std::string_view bytes) {
  const uint32_t crc = crc32c(bytes);
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  uint32_t crc = 0xffffffffu;
  for (const char c : bytes) crc = (crc >> 8) ^ crc_table[(crc ^ static_cast<unsigned char>(c)) & 0xff];
  return ~crc;
}

EventWriter::EventWriter(const std::filesystem::path& folder, int64_t first_step) {
  // Another number names a second run in the same second.
  for (int64_t number = static_cast<int64_t>(now());; ++number) {
    path_ = RunFolder(folder).events(number);
    if (!std::filesystem::exists(path_)) break;
  }
  file_ = open_to_append(path_);
  std::string version, session, status;
  append_bytes(version, 3, "brain.Event:2");
  write_event(0, version);
  if (first_step == 0) return;
  append_varint(status, 1 << 3);  // status = START
  append_varint(status, 1);
  append_bytes(session, 7, status);
  write_event(first_step + 1, session);
}

EventWriter::~EventWriter() {
  if (file_ >= 0) ::close(file_);
}

void EventWriter::close() {
  if (file_ >= 0) close_appended(std::exchange(file_, -1), path_);
}

void EventWriter::add(int64_t step, const std::string& prefix,
                      const std::vector<std::pair<std::string, double>>& values) {
  std::string summary, content;
  for (const auto& [name, value] : values) {
    std::string one;
    append_bytes(one, 1, prefix + "/" + name);
    append_varint(one, 2 << 3 | 5);
    append_raw(one, static_cast<float>(value));
    append_bytes(summary, 1, one);
  }
  append_bytes(content, 5, summary);
  write_event(step, content);
}

void EventWriter::write_event(int64_t step, const std::string& content) {
  std::string event;
  append_varint(event, 1 << 3 | 1);
  append_raw(event, now());
  append_varint(event, 2 << 3);
  append_varint(event, static_cast<uint64_t>(step));
  event += content;
  std::string record;
  append_raw(record, static_cast<uint64_t>(event.size()));
  append_raw(record, masked_crc(record));
  record += event;
  append_raw(record, masked_crc(event));
  append_to(file_, path_, record);
}

}  // namespace engine
