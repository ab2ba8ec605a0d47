// A model folder's generation_config.json says how transformers generates with it. In an older folder, which has none,
// config.json does.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "core/options.h"
#include "training/config.h"

namespace engine {

// Takes what the file says of generation for all options of [generation] that nobody set: do_sample
// with temperature, top_k (50 where it is absent) and top_p, max_new_tokens, num_beams, length_penalty and
// early_stopping; max_length for an encoder-decoder. A UsageError names a key by which transformers would write another
// text and that is not obeyed, such as repetition_penalty, unless it is among the ignored ones. What decides about the
// ends of texts is read with the model.
void take_generation_file(const std::filesystem::path& folder, bool is_encoder_decoder, const Options& options,
                          const std::vector<std::string>& ignored, GenerationConfig& generation);

}  // namespace engine
