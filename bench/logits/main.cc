// logits FOLDER OUT DTYPE PRECISION loads a model folder and writes it to OUT as DTYPE (F32, F16, BF16). Beside it, it
// writes logits.safetensors with the logits of the sequences that standard input gives, one a line, as token ids with
// spaces between them. It prints the seconds of loading and of saving. bench/check_huggingface.py runs it and has
// transformers do the same.
#include <chrono>
#include <iostream>
#include <sstream>

#include "core/parallel.h"
#include "core/safetensors.h"
#include "models/huggingface.h"
#include "models/upload.h"

namespace engine {
namespace {

double seconds_of(const std::function<void()>& act) {
  const auto begin = std::chrono::steady_clock::now();
  act();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

int run(const std::filesystem::path& folder, const std::filesystem::path& out, const std::string& dtype,
        DType compute) {
  const auto ops = make_cpu_ops();
  Arena arena(ops->memory());
  std::unique_ptr<Model> model;
  const double loading =
      seconds_of([&] { model = load_model(folder, ops->memory(), false, {.kinds = generating_kinds}); });
  const double saving = seconds_of([&] {
    write_folder(out, [&](const std::filesystem::path& aside) { save_model(aside, *model, dtype); });
  });
  std::vector<int32_t> tokens, positions, offsets{0};
  int64_t longest = 0;
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    for (int32_t token; words >> token;) {
      positions.push_back(static_cast<int32_t>(tokens.size()) - offsets.back());
      tokens.push_back(token);
    }
    longest = std::max<int64_t>(longest, positions.empty() ? 0 : positions.back() + 1);
    offsets.push_back(static_cast<int32_t>(tokens.size()));
  }
  Upload upload;
  const Upload::List ids = upload.list(tokens), places = upload.list(positions), begins = upload.list(offsets);
  upload.send(arena);
  Pass pass(Run{.ops = *ops, .arena = arena, .compute = compute},
            {upload.segments(begins, longest), upload.tensor(places)});
  const auto saved = model->make_saved();
  const Tensor logits = model_logits(pass, *model, {.ids = upload.tensor(ids)}, {}, *saved);
  std::vector<float> values(static_cast<size_t>(logits.count()));
  arena.memory().copy_out(values.data(), logits.data, logits.bytes());
  const auto fill = [&](char* to) { store_floats(values.data(), values.size(), "F32", to); };
  write_safetensors(out / "logits.safetensors", {{"logits", "F32", {logits.rows(), logits.cols()}, fill}});
  std::cout << "{\"load_seconds\": " << loading << ", \"save_seconds\": " << saving << "}\n";
  return 0;
}

}  // namespace
}  // namespace engine

int main(int argc, char** argv) {
  try {
    if (argc != 5) engine::fail_usage("usage: logits FOLDER OUT DTYPE f32|bf16");
    const bool is_bf16 = std::string(argv[4]) == "bf16";
    return engine::run(argv[1], argv[2], argv[3], is_bf16 ? engine::DType::bf16 : engine::DType::f32);
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
