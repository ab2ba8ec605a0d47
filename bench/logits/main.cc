// logits FOLDER OUT DTYPE PRECISION loads a model folder and writes it to OUT as DTYPE (F32, F16, BF16). Beside it, it
// writes logits.safetensors with the logits of the sequences that standard input gives, one a line, as token ids with
// spaces between them: of every row, or of the first one where a model classifies. Behind a semicolon stands the source
// of an encoder-decoder, or the token types of an encoder. bench/check_huggingface.py and bench/check_configs.py run
// it and have transformers do the same.
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

// Sequences back to back, as a pass reads them.
struct Row {
  std::vector<int32_t> tokens, positions, offsets{0};
  int64_t longest = 0;
  Upload::List ids, places, begins;

  void add(const std::string& numbers) {
    std::istringstream words(numbers);
    for (int32_t token; words >> token;) {
      positions.push_back(static_cast<int32_t>(tokens.size()) - offsets.back());
      tokens.push_back(token);
    }
    longest = std::max<int64_t>(longest, static_cast<int64_t>(tokens.size()) - offsets.back());
    offsets.push_back(static_cast<int32_t>(tokens.size()));
  }
  void list(Upload& upload) {
    ids = upload.list(tokens);
    places = upload.list(positions);
    begins = upload.list(offsets);
  }
  Layout layout(Upload& upload) const { return {upload.segments(begins, longest), upload.tensor(places)}; }
};

int run(const std::filesystem::path& folder, const std::filesystem::path& out, const std::string& dtype,
        DType compute) {
  const auto ops = make_cpu_ops();
  Arena arena(ops->memory());
  std::unique_ptr<Model> model;
  const double loading =
      seconds_of([&] { model = load_model(folder, ops->memory(), false); });
  const double saving = seconds_of([&] {
    write_folder(out, [&](const std::filesystem::path& aside) { save_model(aside, *model, dtype); });
  });
  Row row, beside;
  for (std::string line; std::getline(std::cin, line);) {
    const size_t end = std::min(line.find(';'), line.size());
    row.add(line.substr(0, end));
    if (end < line.size()) beside.add(line.substr(end + 1));
  }
  const bool has_source = reads_source(*model), classifies = model->config().head == HeadKind::classification;
  Upload upload;
  row.list(upload);
  beside.list(upload);
  const Upload::List firsts = upload.list(std::span(row.offsets).first(row.offsets.size() - 1));
  upload.send(arena);
  Pass pass(Run{.ops = *ops, .arena = arena, .compute = compute}, row.layout(upload));
  Tokens tokens{.ids = upload.tensor(row.ids)};
  if (has_source) pass.source = beside.layout(upload), tokens.source_ids = upload.tensor(beside.ids);
  else if (!beside.tokens.empty()) tokens.types = upload.tensor(beside.ids);
  const auto saved = model->make_saved();
  const Tensor logits = model_logits(pass, *model, tokens, classifies ? upload.tensor(firsts) : Tensor{},
                                     *saved);
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
