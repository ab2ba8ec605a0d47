// The parsers that are fuzzed. A target takes the bytes of one input. Input that is wrong must end in an Error.
// Anything else that it throws is a bug, a Finding above all.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace engine::fuzz {

// Tells that what a parser took breaks a promise: it is not written back as it was read, or differs when read again.
struct Finding : std::logic_error {
  using std::logic_error::logic_error;
};

inline void promise(bool holds, const std::string& what) {
  if (!holds) throw Finding(what);
}

struct Target {
  const char* name;  // that of its folder in tests/fuzz/corpus
  void (*run)(std::string_view input);
};
const std::vector<Target>& targets();

// Runs a target. Errors are an answer, like success.
void run_target(const Target& target, std::string_view input);

// An input of several files has lines "%%" between them.
std::vector<std::string_view> parts_of(std::string_view input);

// Returns a folder in memory that holds these files, and nothing of the input before.
struct InputFile {
  const char* name;
  std::string_view content;
};
std::string input_folder(const std::vector<InputFile>& files);
// Returns such a folder's one file.
std::string input_file(const char* name, std::string_view content);

// Targets by what they read.
void read_json_input(std::string_view input);
void read_json_lines_input(std::string_view input);
void read_safetensors_input(std::string_view input);
void read_toml_input(std::string_view input);
void read_sweep_input(std::string_view input);
void read_csv_input(std::string_view input);
void read_metrics_input(std::string_view input);
void read_tokenizer_json_input(std::string_view input);
void read_wordpiece_input(std::string_view input);
void read_bpe_input(std::string_view input);
void read_sentencepiece_input(std::string_view input);
void read_squad_json_input(std::string_view input);
void read_squad_lines_input(std::string_view input);
void read_squad_table_input(std::string_view input);
void read_glue_input(std::string_view input);
void read_choices_input(std::string_view input);
void read_expression_input(std::string_view input);
void read_expression_file_input(std::string_view input);
void read_state_input(std::string_view input);
void read_model_config_input(std::string_view input);

}  // namespace engine::fuzz
