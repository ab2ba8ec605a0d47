// TensorBoard event files hold scalars. They are written without protobuf or TensorFlow. A file is a row of TFRecords,
//   u64 length | u32 masked CRC-32C of the length | bytes | u32 masked CRC-32C of the bytes   (little endian),
// each an Event message: 1 wall_time (double), 2 step (int64), 3 file_version (string), 5 summary {1 value {1 tag, 2
// simple_value (float)}}, 7 session_log {1 status}. A masked CRC is rotated right by 15 bits, plus 0xa282ead8.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace engine {

uint32_t crc32c(std::string_view bytes);  // Castagnoli's polynomial

class EventWriter {
 public:
  // Makes a new file in `folder`, which is there. A viewer forgets what older files of the folder say of steps after
  // `first_step`, because a resumed run writes them anew.
  EventWriter(const std::filesystem::path& folder, int64_t first_step);
  ~EventWriter();
  EventWriter(const EventWriter&) = delete;
  EventWriter& operator=(const EventWriter&) = delete;

  // Adds values of one step, tagged "prefix/name". They are on disk when it returns.
  void add(int64_t step, const std::string& prefix, const std::vector<std::pair<std::string, double>>& values);
  // Throws an Error where a piece was not written.
  void close();
  const std::filesystem::path& path() const { return path_; }

 private:
  void write_event(int64_t step, const std::string& content);

  std::filesystem::path path_;
  int file_ = -1;
};

}  // namespace engine
