#include "models/cached_decoder.h"

#include <algorithm>

namespace engine {

namespace {

// Numbers that a pass needs on the device, gathered on the host and copied in one piece: lists, one behind the other;
// once they are copied each is a tensor.
class Upload {
 public:
  struct List {
    int64_t begin = 0, count = 0;
  };
  explicit Upload(std::vector<int32_t>& numbers) : numbers_(numbers) { numbers_.clear(); }

  List list(int64_t count) {
    const List made{static_cast<int64_t>(numbers_.size()), count};
    numbers_.resize(numbers_.size() + static_cast<size_t>(count));
    return made;
  }
  int32_t& at(const List& list, int64_t i) { return numbers_[static_cast<size_t>(list.begin + i)]; }
  void copy_in(Arena& arena) {
    on_device_ = arena.make(DType::i32, {static_cast<int64_t>(numbers_.size())});
    arena.memory().copy_in(on_device_.data, numbers_.data(), on_device_.bytes());
  }
  Tensor operator[](const List& list) const {
    return {on_device_.as<int32_t>() + list.begin, DType::i32, {list.count}};
  }

 private:
  std::vector<int32_t>& numbers_;
  Tensor on_device_;
};

// Some segments of rows in a cache: where each begins and ends.
struct CachedSegments {
  Upload::List begin, end;
  int64_t longest = 0;

  CachedSegments(Upload& upload, int64_t count) : begin(upload.list(count)), end(upload.list(count)) {}
  void set(Upload& upload, int64_t i, int64_t first, int64_t rows) {
    upload.at(begin, i) = static_cast<int32_t>(first);
    upload.at(end, i) = static_cast<int32_t>(first + rows);
    longest = std::max(longest, rows);
  }
  Segments segments(const Upload& upload) const { return {upload[begin], upload[end], longest}; }
};

// Tokens of sequences back to back, and the row of a cache that each is written to.
struct Row {
  Upload::List ids, positions, rows, offsets;
  int64_t token = 0, sequence = 0, longest = 0;

  Row(Upload& upload, int64_t tokens, int64_t sequences)
      : ids(upload.list(tokens)), positions(upload.list(tokens)), rows(upload.list(tokens)),
        offsets(upload.list(sequences + 1)) {}
  // first_row: of the cache, where the sequence's position 0 lies.
  void add(Upload& upload, std::span<const int32_t> tokens, int64_t first_position, int64_t first_row) {
    const auto count = static_cast<int64_t>(tokens.size());
    for (int64_t t = 0; t < count; ++t, ++token) {
      upload.at(ids, token) = tokens[static_cast<size_t>(t)];
      upload.at(positions, token) = static_cast<int32_t>(first_position + t);
      upload.at(rows, token) = static_cast<int32_t>(first_row + first_position + t);
    }
    longest = std::max(longest, count);
    upload.at(offsets, ++sequence) = static_cast<int32_t>(token);
  }
  Segments segments(const Upload& upload) const { return Segments::packed(upload[offsets], longest); }
};

}  // namespace

CachedDecoder::CachedDecoder(Ops& ops, CausalModel& model, DType compute)
    : ops_(ops), model_(model), compute_(compute), arena_(ops.memory()), saved_(model.make_saved()) {
  refresh();
}

CachedDecoder::~CachedDecoder() { model_.parameters().drop_packed(); }

void CachedDecoder::refresh() { model_.parameters().pack(ops_, compute_); }

void CachedDecoder::make_cache(const Sizes& sizes) {
  sizes_ = sizes;
  cache_ = {};
  source_lengths_.assign(static_cast<size_t>(sizes.source_slots), 0);
  const int64_t width = config().hidden_size;
  for (int64_t layer = 0; layer < config().decoder_size(); ++layer) {
    for (std::vector<Tensor>* side : {&cache_.k, &cache_.v})
      side->push_back(arena_.make(compute_, {sizes.slots * sizes.rows, width}));
    if (model_.reads_source())
      cache_.source_kv.push_back(arena_.make(compute_, {sizes.source_slots * sizes.source_rows, 2 * width}));
  }
}

Tensor CachedDecoder::logits(std::span<const Sequence> sequences) {
  const auto count = static_cast<int64_t>(sequences.size());
  int64_t tokens = 0, source_tokens = 0, new_sources = 0;
  for (const Sequence& s : sequences) {
    tokens += static_cast<int64_t>(s.pending.size());
    source_tokens += static_cast<int64_t>(s.source.size());
    new_sources += !s.source.empty();
  }
  Upload upload(numbers_);
  Row row(upload, tokens, count);
  Row source_row(upload, source_tokens, new_sources);
  CachedSegments keys(upload, count), source_keys(upload, model_.reads_source() ? count : 0);
  const Upload::List last_rows = upload.list(count);
  for (int64_t i = 0; i < count; ++i) {
    const Sequence& s = sequences[static_cast<size_t>(i)];
    const auto pending = static_cast<int64_t>(s.pending.size()), source = static_cast<int64_t>(s.source.size());
    const int64_t first = s.slot * sizes_.rows, first_of_source = s.source_slot * sizes_.source_rows;
    row.add(upload, s.pending, s.cached, first);
    keys.set(upload, i, first, s.cached + pending);
    upload.at(last_rows, i) = static_cast<int32_t>(row.token - 1);
    if (!model_.reads_source()) continue;
    if (source) {
      source_row.add(upload, s.source, 0, first_of_source);
      source_lengths_[static_cast<size_t>(s.source_slot)] = source;
    }
    source_keys.set(upload, i, first_of_source, source_lengths_[static_cast<size_t>(s.source_slot)]);
  }
  upload.copy_in(arena_);

  cache_.rows = upload[row.rows];
  cache_.keys = keys.segments(upload);
  Tokens inputs{.ids = upload[row.ids], .positions = upload[row.positions]};
  if (source_tokens) {
    cache_.source_rows = upload[source_row.rows];
    inputs.source = {upload[source_row.ids], upload[source_row.positions], source_row.segments(upload)};
  }
  if (model_.reads_source()) cache_.source_keys = source_keys.segments(upload);
  Pass pass{.ops = ops_,
            .arena = arena_,
            .compute = compute_,
            .segments = row.segments(upload),
            .recompute = tokens > count,  // of a long prompt, one layer's activations at a time
            .keep = false,
            .cache = &cache_};
  return model_logits(pass, model_, inputs, tokens > count ? upload[last_rows] : Tensor{}, *saved_);
}

void CachedDecoder::copy_slots(std::span<const Copy> copies) {
  int64_t rows = 0;
  for (const Copy& copy : copies) rows += copy.rows;
  if (!rows) return;
  const ArenaScope scope(arena_);
  Upload upload(numbers_);
  const Upload::List from = upload.list(rows), to = upload.list(rows);
  int64_t row = 0;
  for (const Copy& copy : copies)
    for (int64_t i = 0; i < copy.rows; ++i, ++row) {
      upload.at(from, row) = static_cast<int32_t>(copy.from * sizes_.rows + i);
      upload.at(to, row) = static_cast<int32_t>(copy.to * sizes_.rows + i);
    }
  upload.copy_in(arena_);
  const Tensor taken = arena_.make(compute_, {rows, config().hidden_size});
  for (const std::vector<Tensor>* side : {&cache_.k, &cache_.v})
    for (const Tensor& layer : *side) {
      ops_.gather_rows({.x = layer, .index = upload[from], .y = taken});
      ops_.scatter_rows({.x = taken, .index = upload[to], .y = layer});
    }
}

void CachedDecoder::check(std::span<const std::vector<int32_t>> prompts,
                          std::span<const std::vector<int32_t>> sources) const {
  const auto check_all = [&](std::span<const std::vector<int32_t>> texts, const char* what) {
    for (size_t i = 0; i < texts.size(); ++i) {
      require(!texts[i].empty(), what, " ", i, " is empty: a ", what, " has at least one token");
      require(static_cast<int64_t>(texts[i].size()) <= config().max_positions, what, " ", i, " has ", texts[i].size(),
              " tokens: the model has positions for ", config().max_positions);
      for (int32_t token : texts[i])
        require(0 <= token && token < config().vocab_size, what, " ", i, " has token ", token, ": the model has ",
                config().vocab_size, " tokens");
    }
  };
  check_all(prompts, "prompt");
  check_all(sources, "source");
  const size_t wanted = model_.reads_source() ? prompts.size() : 0;
  require(sources.size() == wanted, prompts.size(), " prompts come with ", sources.size(), " sources, the model reads ",
          wanted);
}

}  // namespace engine
