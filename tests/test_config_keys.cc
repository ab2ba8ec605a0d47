// Keys of config.json: tests/golden/make_config_keys.py lists those that transformers reads.
#include <doctest/doctest.h>

#include <map>
#include <set>

#include "core/json.h"
#include "models/bart.h"
#include "models/huggingface.h"
#include "tests/changed_folder.h"

namespace engine::test::test_config_keys {

using nlohmann::json;

namespace {

// Returns everything that a model's folder says of it, as text.
std::string text_of(ModelConfig config) {
  Options options;
  config.declare(options);
  std::string text;
  for (const Options::Option& option : options.all()) text += option.name + " " + option.text() + "\n";
  for (const auto& ids : {config.eos_tokens, {config.bos_token, config.pad_token}})
    for (const int32_t id : ids) text += std::to_string(id) + " ";
  const auto& bart = config.own.get<BartOptions>();
  for (const int32_t value : {bart.decoder_start_token, bart.forced_bos_token, bart.forced_eos_token})
    text += std::to_string(value) + " ";
  text += bart.scale_embedding ? "scaled " : "";
  for (const std::string& label : config.labels) text += label + " ";
  return text;
}

// Says what a folder means whose config has another value of a key: an error behind the file's name, or all of it.
std::string meaning(const std::string& model, const std::string& key, const json& value, bool trained = false) {
  ChangedFolder folder("tests/golden/" + model);
  if (!key.empty()) folder.config[key] = value;
  try {
    const auto loaded = load_model(folder.write(), host_memory(), trained);
    return text_of(loaded->config());
  } catch (const Error& error) {
    return std::string(error.what()).substr(folder.folder.path().string().size());
  }
}

struct Architecture {
  const char* name;
  const char* folder;
  std::map<std::string, json> obeyed, refused, refused_in_training;  // keys with a value of each
  std::set<std::string> without_effect;
};

// These are about files, messages, kernels, parallel devices, a run's outputs, or the names of other models' values.
const std::set<std::string> without_effect = {
    "_attn_implementation", "_commit_hash", "_configuration_file", "_from_auto", "_from_pipeline", "adapter_kwargs",
    "adapter_name", "allow_all_kernels", "allow_is_causal_skip", "architectures", "attn_implementation", "cache_dir",
    "chunk_size_feed_forward", "commit_message", "create_pr", "device", "device_map", "device_mesh",
    "distributed_config", "dtype", "experts_implementation", "force_download", "fusion_config", "generation_config",
    "gguf_file", "gradient_checkpointing", "kernel_config", "key_mapping", "label2id", "local_files_only",
    "max_memory", "mtp_layer_types", "name_or_path", "offload_buffers", "offload_folder", "output_attentions",
    "output_hidden_states", "output_loading_info", "proxies", "repo_id", "return_dict", "return_unused_kwargs",
    "revision", "rope_scaling", "rope_theta", "sep_token_id", "state_dict", "subfolder", "tags", "token",
    "torch_dtype", "tp_plan", "tp_size", "tqdm_class", "transformers_version", "trust_remote_code", "use_cache",
    "use_kernels", "variant"};

const std::map<std::string, json> refused = {
    {"attention_chunk_size", 8}, {"is_encoder_decoder", true}, {"layer_types", {"sliding_attention"}},
    {"per_layer_config", {{"0", {{"x", 1}}}}}, {"quantization_config", {{"quant_method", "fp8"}}},
    {"sliding_window", 8}, {"transformers_weights", "other.safetensors"}};

const std::map<std::string, json> roberta_keys = {
    {"attention_probs_dropout_prob", 0.3}, {"bos_token_id", 5}, {"classifier_dropout", 0.3}, {"eos_token_id", 5},
    {"hidden_act", "relu"}, {"hidden_dropout_prob", 0.3}, {"hidden_size", 24},
    {"id2label", {{"0", "x"}, {"1", "y"}, {"2", "z"}}}, {"initializer_range", 0.5}, {"intermediate_size", 31},
    {"layer_norm_eps", 0.5}, {"max_position_embeddings", 24}, {"num_attention_heads", 5}, {"num_hidden_layers", 4},
    {"pad_token_id", 3}, {"tie_word_embeddings", false}, {"type_vocab_size", 3}, {"vocab_size", 31}};

const Architecture architectures[] = {
    {.name = "gpt2",
     .folder = "gpt2/model",
     .obeyed = {{"activation_function", "relu"}, {"attn_pdrop", 0.3}, {"bos_token_id", 3}, {"embd_pdrop", 0.3},
                {"eos_token_id", 3}, {"hidden_size", 45}, {"initializer_range", 0.5}, {"layer_norm_epsilon", 0.5},
                {"max_position_embeddings", 34}, {"n_embd", 45}, {"n_head", 4}, {"n_inner", 98}, {"n_layer", 4},
                {"n_positions", 34}, {"num_attention_heads", 4}, {"num_hidden_layers", 4}, {"pad_token_id", 3},
                {"resid_pdrop", 0.3}, {"tie_word_embeddings", false}, {"vocab_size", 62}},
     .refused = {{"add_cross_attention", true}, {"is_causal", false}, {"scale_attn_by_inverse_layer_idx", true},
                 {"scale_attn_weights", false}},
     .without_effect = {"classifier_dropout", "hidden_dropout", "id2label", "num_labels", "problem_type",
                        "reorder_and_upcast_attn", "summary_activation", "summary_first_dropout",
                        "summary_last_dropout", "summary_proj_to_labels", "summary_type", "summary_use_proj"}},
    {.name = "gpt_neox",
     .folder = "neox/parallel/model",
     .obeyed = {{"attention_bias", false}, {"attention_dropout", 0.3}, {"bos_token_id", 3}, {"eos_token_id", 3},
                {"hidden_act", "relu"}, {"hidden_dropout", 0.3}, {"hidden_size", 48}, {"initializer_range", 0.5},
                {"intermediate_size", 51}, {"layer_norm_eps", 0.5}, {"max_position_embeddings", 34},
                {"num_attention_heads", 6}, {"num_hidden_layers", 4}, {"pad_token_id", 3},
                {"rope_parameters", {{"partial_rotary_factor", 1.0}}},
                {"use_parallel_residual", false}, {"vocab_size", 62}},
     // The file has a table that differs, so nothing is tied, whatever this says.
     .refused = {{"is_causal", false}, {"rope_scaling", {{"type", "linear"}, {"factor", 2}}}, {"rope_theta", 500},
                 {"tie_word_embeddings", 1}},
     .without_effect = {"classifier_dropout", "id2label", "is_decoder", "num_labels", "problem_type"}},
    {.name = "bert",
     .folder = "bert/bert_classes/model",
     .obeyed = {{"attention_probs_dropout_prob", 0.3}, {"classifier_dropout", 0.3}, {"hidden_act", "relu"},
                {"hidden_dropout_prob", 0.3}, {"hidden_size", 24}, {"id2label", {{"0", "x"}, {"1", "y"}, {"2", "z"}}},
                {"initializer_range", 0.5}, {"intermediate_size", 31}, {"layer_norm_eps", 0.5},
                {"max_position_embeddings", 24}, {"num_attention_heads", 5}, {"num_hidden_layers", 4},
                {"pad_token_id", 3}, {"tie_word_embeddings", false}, {"type_vocab_size", 3}, {"vocab_size", 31}},
     .refused = {{"add_cross_attention", true}, {"is_causal", true}, {"is_decoder", true},
                 {"problem_type", "regression"}},
     .without_effect = {"bos_token_id", "eos_token_id"}},
    {.name = "distilbert",
     .folder = "bert/distilbert_classes/model",
     .obeyed = {{"activation", "relu"}, {"attention_dropout", 0.3}, {"dim", 24}, {"dropout", 0.3}, {"hidden_dim", 31},
                {"hidden_size", 24}, {"id2label", {{"0", "x"}, {"1", "y"}, {"2", "z"}}}, {"initializer_range", 0.5},
                {"max_position_embeddings", 24}, {"n_heads", 5}, {"n_layers", 4}, {"num_attention_heads", 5},
                {"num_hidden_layers", 4}, {"pad_token_id", 3}, {"qa_dropout", 0.3}, {"seq_classif_dropout", 0.3},
                {"tie_word_embeddings", false}, {"vocab_size", 31}},
     .refused = {{"is_causal", true}, {"problem_type", "multi_label_classification"}},
     // Positions that began as sinusoids are in the file and trained like any others.
     .without_effect = {"bos_token_id", "eos_token_id", "sinusoidal_pos_embds"}},
    {.name = "roberta",
     .folder = "bert/roberta_classes/model",
     .obeyed = roberta_keys,
     .refused = {{"add_cross_attention", true}, {"is_causal", true}, {"is_decoder", true},
                 {"problem_type", "regression"}}},
    {.name = "xlm_roberta",
     .folder = "bert/xlm_roberta_classes/model",
     .obeyed = roberta_keys,
     .refused = {{"add_cross_attention", true}, {"is_causal", true}, {"is_decoder", true},
                 {"problem_type", "regression"}}},
    {.name = "rembert",
     .folder = "bert/rembert_classes/model",
     .obeyed = {{"attention_probs_dropout_prob", 0.3}, {"bos_token_id", 5}, {"classifier_dropout_prob", 0.3},
                {"eos_token_id", 5}, {"hidden_act", "relu"}, {"hidden_dropout_prob", 0.3}, {"hidden_size", 24},
                {"id2label", {{"0", "x"}, {"1", "y"}, {"2", "z"}}}, {"initializer_range", 0.5},
                {"input_embedding_size", 12}, {"intermediate_size", 31}, {"layer_norm_eps", 0.5},
                {"max_position_embeddings", 24}, {"num_attention_heads", 5}, {"num_hidden_layers", 4},
                {"output_embedding_size", 12}, {"pad_token_id", 3}, {"type_vocab_size", 3}, {"vocab_size", 31}},
     // Be it true or false, nothing is tied.
     .refused = {{"add_cross_attention", true}, {"is_causal", true}, {"is_decoder", true},
                 {"problem_type", "regression"},
                 {"tie_word_embeddings", 1}}},
    {.name = "bart",
     .folder = "bart/plain/model",
     .obeyed = {{"activation_dropout", 0.3}, {"activation_function", "relu"}, {"attention_dropout", 0.3},
                {"bos_token_id", 5}, {"d_model", 24}, {"decoder_attention_heads", 5}, {"decoder_ffn_dim", 31},
                {"decoder_layers", 4}, {"decoder_start_token_id", 5}, {"dropout", 0.3},
                {"encoder_attention_heads", 5}, {"encoder_ffn_dim", 31}, {"encoder_layers", 4}, {"eos_token_id", 5},
                {"forced_eos_token_id", 5}, {"hidden_size", 24}, {"init_std", 0.5}, {"max_position_embeddings", 24},
                {"num_attention_heads", 5}, {"num_hidden_layers", 4}, {"pad_token_id", 5}, {"scale_embedding", true},
                {"tie_word_embeddings", false}, {"vocab_size", 31}},
     .refused = {{"is_causal", true}, {"is_decoder", true}, {"is_encoder_decoder", false}},
     .refused_in_training = {{"decoder_layerdrop", 0.1}, {"encoder_layerdrop", 0.1}},
     .without_effect = {"classifier_dropout", "id2label", "num_labels", "problem_type"}}};

const json& golden() {
  static const json keys = parse_json_file("tests/golden/config_keys.json");
  return keys;
}

}  // namespace

TEST_CASE("config keys: every key that transformers reads is obeyed, named in an error, or changes nothing") {
  for (const Architecture& one : architectures) {
    CAPTURE(one.name);
    const std::string folder = one.folder, plain = meaning(folder, "", {});
    REQUIRE(plain.find("model.hidden_size") != std::string::npos);
    auto all_refused = one.refused;
    for (const auto& entry : refused) all_refused.insert(entry);
    for (const auto& [key, value] : one.obeyed) {
      CAPTURE(key);
      CHECK(meaning(folder, key, value) != plain);
    }
    for (const auto& [key, value] : all_refused) {
      const std::string text = meaning(folder, key, value);
      CAPTURE(text);
      CHECK(text.starts_with("/config.json: \"" + key + "\" is "));
      CHECK(meaning(folder, key, nullptr) == plain);
    }
    for (const auto& [key, value] : one.refused_in_training) {
      CHECK(meaning(folder, key, value, /*trained=*/true).starts_with("/config.json: \"" + key + "\" is 0.1"));
      CHECK(meaning(folder, key, 0.0, /*trained=*/true) == plain);
      CHECK(meaning(folder, key, value) == plain);
    }
    auto passed_over = one.without_effect;
    passed_over.insert(without_effect.begin(), without_effect.end());
    for (const auto& [key, value] : all_refused) passed_over.erase(key);
    size_t keys = 0;
    for (const std::string key : golden()[one.name]) {
      CAPTURE(key);
      // The count of classes is that of their names, where they have names.
      const bool is_count = key == "num_labels" && !passed_over.contains(key);
      CHECK(one.obeyed.contains(key) + all_refused.contains(key) + one.refused_in_training.contains(key) +
                passed_over.contains(key) + is_count == 1);
      if (passed_over.contains(key) && key != "architectures") CHECK(meaning(folder, key, json(1)) == plain);
      ++keys;
    }
    CHECK(keys > 80);
  }
}

}  // namespace engine::test::test_config_keys
