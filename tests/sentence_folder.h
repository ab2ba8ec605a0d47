// A small random encoder with a folder of sentence-transformers around it, whose vocabulary are letters.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "core/files.h"
#include "core/memory.h"
#include "models/huggingface.h"
#include "tests/letters.h"
#include "tests/temporary.h"

namespace engine::test {

struct SentenceFolder {
  TemporaryFolder folder;
  const std::filesystem::path& path = folder.path();

  SentenceFolder() {
    write_letters(path);
    const auto model = make_model({.architecture = "bert",
                                           .hidden_size = 24,
                                           .num_layers = 2,
                                           .num_heads = 2,
                                           .vocab_size = 31,
                                           .max_positions = 40,
                                           .activation = "gelu",
                                           .initializer_range = 0.3f,
                                           .pooler = true});
    model->parameters().allocate(host_memory(), false);
    model->parameters().initialise(3);
    save_model(path, *model);
    write_file(path / "modules.json",
               R"([{"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"},
                   {"idx": 1, "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
                   {"idx": 2, "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}])");
    std::filesystem::create_directory(path / "1_Pooling");
    pool("mean_tokens");
    write_file(path / "sentence_bert_config.json", R"({"max_seq_length": 9, "do_lower_case": false})");
  }
  void pool(const std::string& mode) const {
    nlohmann::json config;
    for (const std::string one : {"cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens"})
      config["pooling_mode_" + one] = one == mode;
    write_file(path / "1_Pooling" / "config.json", config.dump());
  }
};

}  // namespace engine::test
