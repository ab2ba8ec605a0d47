#include "tests/fuzz/targets.h"

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>

#include "core/error.h"
#include "tests/quick_place.h"
#include "tests/temporary.h"

namespace engine::fuzz {

const std::vector<Target>& targets() {
  static const std::vector<Target> all{
      {"json", read_json_input},
      {"json_lines", read_json_lines_input},
      {"safetensors", read_safetensors_input},
      {"toml", read_toml_input},
      {"sweep", read_sweep_input},
      {"csv", read_csv_input},
      {"metrics", read_metrics_input},
      {"tokenizer_json", read_tokenizer_json_input},
      {"wordpiece", read_wordpiece_input},
      {"bpe", read_bpe_input},
      {"sentencepiece", read_sentencepiece_input},
      {"squad_json", read_squad_json_input},
      {"squad_lines", read_squad_lines_input},
      {"squad_table", read_squad_table_input},
      {"glue", read_glue_input},
      {"choices", read_choices_input},
      {"expression", read_expression_input},
      {"expression_file", read_expression_file_input},
      {"state", read_state_input},
      {"model_config", read_model_config_input},
  };
  return all;
}

void run_target(const Target& target, std::string_view input) {
  try {
    target.run(input);
  } catch (const Error&) {
  }
}

std::vector<std::string_view> parts_of(std::string_view input) {
  constexpr std::string_view line = "\n%%\n";
  std::vector<std::string_view> parts;
  while (true) {
    const size_t end = input.find(line);
    parts.push_back(input.substr(0, end));
    if (end == std::string_view::npos) return parts;
    input.remove_prefix(end + line.size());
  }
}

std::string input_folder(const std::vector<InputFile>& files) {
  static const test::TemporaryFolder place(test::quick_place());
  for (const auto& entry : std::filesystem::directory_iterator(place.path())) std::filesystem::remove_all(entry.path());
  for (const InputFile& file : files) {
    const std::filesystem::path path = place.path() / file.name;
    std::filesystem::create_directories(path.parent_path());
    const int out = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    const ssize_t written = out < 0 ? -1 : write(out, file.content.data(), file.content.size());
    promise(written == static_cast<ssize_t>(file.content.size()), "cannot write the input's file " + path.string());
    close(out);
  }
  return place.path().string();
}

std::string input_file(const char* name, std::string_view content) {
  return input_folder({{name, content}}) + "/" + name;
}

}  // namespace engine::fuzz
