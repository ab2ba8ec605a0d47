#include "commands/embed.h"

#include <atomic>
#include <filesystem>
#include <iostream>

#include "commands/lines.h"
#include "commands/numbers.h"
#include "commands/verb.h"
#include "commands/with_model.h"
#include "core/parallel.h"
#include "training/machine.h"

namespace engine {

namespace {

constexpr size_t lines_embedded_at_once = 8192;

// The header of an array says how many rows follow it.
size_t count_lines(const std::string& file) {
  if (std::filesystem::exists(file) && !std::filesystem::is_regular_file(file))
    fail_usage("--format npy reads its input twice, and ", file, " is no file: write it to one first");
  size_t count = 0;
  in_batches(file, nullptr, [&](size_t, const std::vector<std::string>& lines) { count += lines.size(); });
  return count;
}

class EmbedVerb final : public Verb {
 public:
  void add_flags(Flags& flags) override {
    flags.add("DIR", folder_, "a run folder or a model folder", {.required = true});
    flags.add("--input", input_, "a text file", {.required = true});
    flags.add("--format", format_, "jsonl, or npy: an array with a row a line", {.range = one_of({"jsonl", "npy"})});
    flags.add_options(settings_, machine_options);
  }

  int run(Communicator& ranks) override {
    settings_.resolve({});
    ConfiguredMachine backend(settings_.config, ranks);
    SentenceEncoder encoder(folder_, backend.machine());
    const size_t cut = embed_lines(encoder, input_, std::cout,
                                   format_ == "npy" ? VectorsFormat::npy : VectorsFormat::jsonl);
    if (cut) std::cerr << input_ << ": " << cut << " lines are cut to " << encoder.max_length() << " tokens\n";
    return 0;
  }

 private:
  Settings settings_;
  std::string folder_, input_, format_ = "jsonl";
};

}  // namespace

size_t embed_lines(SentenceEncoder& encoder, const std::string& input_file, std::ostream& out, VectorsFormat format) {
  std::atomic<size_t> cut = 0;
  const auto width = static_cast<size_t>(encoder.width());
  if (format == VectorsFormat::npy) out << npy_header(count_lines(input_file), width);
  in_batches(input_file, "embedding", [&](size_t first, const std::vector<std::string>& lines) {
    std::vector<std::vector<int32_t>> sentences(lines.size());
    parallel_for_or_throw(static_cast<int64_t>(lines.size()), [&](int64_t i) {
      const auto line = static_cast<size_t>(i);
      sentences[line] = at_line(input_file, first + line, [&] {
        bool is_cut = false;
        std::vector<int32_t> ids = encoder.encode(lines[line], &is_cut);
        require(!ids.empty(), "the line has no token");
        cut += is_cut;
        return ids;
      });
    });
    const std::vector<float> vectors = encoder.embed(sentences);
    if (format == VectorsFormat::npy) {
      out.write(reinterpret_cast<const char*>(vectors.data()),
                static_cast<std::streamsize>(vectors.size() * sizeof(float)));
      return flush(out);
    }
    std::vector<std::string> texts(lines.size());
    parallel_for(static_cast<int64_t>(lines.size()), [&](int64_t i) {
      const auto line = static_cast<size_t>(i);
      texts[line] = "{\"embedding\": " + json_list({vectors.data() + line * width, width}) + "}\n";
    });
    for (const std::string& text : texts) out << text;
    flush(out);
  }, lines_embedded_at_once);
  return cut;
}

std::unique_ptr<Verb> make_embed_verb() { return std::make_unique<EmbedVerb>(); }

}  // namespace engine
