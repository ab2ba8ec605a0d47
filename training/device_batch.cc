#include "training/device_batch.h"

#include <algorithm>
#include <optional>

#include "models/architectures.h"
#include "models/positions.h"
#include "training/drawn_positions.h"

namespace engine {

void write_counters(Upload& upload, const Upload::List& list, const DropoutStream& stream, int64_t rows_before) {
  const auto bits = static_cast<uint64_t>(rows_before);
  upload[list][0] = static_cast<int32_t>(stream.step);
  upload[list][1] = static_cast<int32_t>(static_cast<uint32_t>(bits));
  upload[list][2] = static_cast<int32_t>(static_cast<uint32_t>(bits >> 32));
}

// This holds the tokens of some sequences that lie back to back, and their places.
struct BatchUpload::Row {
  Upload& upload;
  Upload::List ids, positions, offsets;
  int64_t longest = 0;

  // Positions are those of the slice alone; none: counted from 0.
  Row(Upload& upload_, const std::vector<int32_t>& tokens, std::span<const int32_t> positions_,
      const std::vector<int32_t>& all_offsets, size_t first, size_t last)
      : upload(upload_) {
    const int32_t begin = all_offsets[first];
    const auto count = static_cast<size_t>(all_offsets[last] - begin), at = static_cast<size_t>(begin);
    ids = upload.list(std::span(tokens).subspan(at, count));
    positions = positions_.empty() ? upload.list(static_cast<int64_t>(count))
                                   : upload.list(positions_);
    offsets = upload.list(static_cast<int64_t>(last - first + 1));
    for (size_t s = first; s <= last; ++s) upload[offsets][s - first] = all_offsets[s] - begin;
    for (size_t s = first; s < last; ++s) {
      const int32_t length = all_offsets[s + 1] - all_offsets[s];
      longest = std::max<int64_t>(longest, length);
      const auto row = static_cast<size_t>(all_offsets[s] - begin);
      for (int32_t i = 0; positions_.empty() && i < length; ++i) upload[positions][row + static_cast<size_t>(i)] = i;
    }
  }
  void check(const ModelConfig& config) const {
    const std::span<const int32_t> all = upload[positions];
    const int64_t most = all.empty() ? 0 : *std::max_element(all.begin(), all.end()) + 1;
    require(most <= config.max_positions, "a sequence has ", most, " tokens, the model ", config.max_positions,
            " positions");
  }
  Layout layout() const { return {upload.segments(offsets, longest), upload.tensor(positions)}; }
};

// These are the numbers that dropout counts with in some rows of the step.
struct BatchUpload::Counters {
  Upload& upload;
  int64_t rows_before;
  Upload::List list;

  Counters(Upload& upload_, const DropoutStream& stream, int64_t rows) : upload(upload_), rows_before(rows) {
    list = upload.list(stream.is_active ? 3 : 0);
    if (stream.is_active) write_counters(upload, list, stream, rows);
  }
  Layout of(Layout layout) const {
    layout.rows_before = rows_before;
    if (list.count) layout.dropout_counters = upload.tensor(list);
    return layout;
  }
};

DeviceBatch BatchUpload::send(Arena& arena, const Model& model, const SequenceBatch& batch, int64_t first,
                              int64_t last, const DropoutStream& stream) {
  require(0 <= first && first < last && last <= batch.sequences(), "sequences ", first, " to ", last, " of a batch of ",
          batch.sequences());
  require(batch.sources.empty() == !reads_source(model), batch.sources.empty()
          ? "the model reads a source with every sequence, and the batch has none"
          : "the batch has sources, which the model does not read");
  const auto f = static_cast<size_t>(first), l = static_cast<size_t>(last);
  const int32_t begin = batch.offsets[f], end = batch.offsets[l];
  const std::vector<int32_t>& labels = batch.targets.labels;
  scored_.clear();
  // Reserves as much as the batch has, so that ragged batches, longer or shorter each time, do not allocate.
  scored_.reserve(batch.tokens.capacity());
  constexpr size_t lists_of_tokens = 11, lists_of_sequences = 2, lists_of_source = 2, padding = 16 * 20;
  upload_.reserve(lists_of_tokens * batch.tokens.capacity() + lists_of_sequences * batch.offsets.capacity() +
                  lists_of_source * batch.sources.capacity() + batch.source_offsets.capacity() + padding);
  for (int32_t i = begin; i < end; ++i)
    if (labels[static_cast<size_t>(i)] != -100) scored_.push_back(i - begin);

  upload_.clear();
  std::vector<int32_t> drawn;
  std::span<const int32_t> positions;
  if (draws_positions(model.config(), stream.is_active)) {
    drawn = draw_positions(batch, first, last, model.config().max_positions, stream.seed, stream.step);
    positions = drawn;
  } else if (!batch.positions.empty()) {
    positions = std::span(batch.positions).subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
  }
  const Row row(upload_, batch.tokens, positions, batch.offsets, f, l);
  row.check(model.config());
  // Output rows are sent even where they are all rows, because dropout must not depend on how the batch is divided.
  const Upload::List outputs = upload_.list(scored_), output_positions = upload_.list(scored()),
                     output_offsets = upload_.list(last - first + 1), label_list = upload_.list(scored()),
                     weights = upload_.list(batch.targets.weights.empty() ? 0 : scored()),
                     penalties = upload_.list(batch.targets.penalties.empty() ? 0 : scored());
  for (size_t i = 0; i < scored_.size(); ++i) {
    const auto at = static_cast<size_t>(begin + scored_[i]);
    upload_[output_positions][i] = upload_[row.positions][static_cast<size_t>(scored_[i])];
    upload_[label_list][i] = labels[at];
    if (weights.count) upload_.floats(weights)[i] = batch.targets.weights[at];
    if (penalties.count) upload_.floats(penalties)[i] = batch.targets.penalties[at];
  }
  int64_t longest = 0;
  upload_[output_offsets][0] = 0;
  for (size_t s = f; s < l; ++s) {
    const auto scored_before = std::lower_bound(scored_.begin(), scored_.end(), batch.offsets[s + 1] - begin);
    upload_[output_offsets][s - f + 1] = static_cast<int32_t>(scored_before - scored_.begin());
    longest = std::max<int64_t>(longest, upload_[output_offsets][s - f + 1] - upload_[output_offsets][s - f]);
  }
  const auto count = static_cast<size_t>(end - begin);
  const Upload::List types = batch.types.empty()
                                 ? upload_.list(0)
                                 : upload_.list(std::span(batch.types).subspan(static_cast<size_t>(begin), count));
  const Upload::List spans = upload_.list(batch.targets.spans.empty() ? 0 : 2 * static_cast<int64_t>(count));
  if (spans.count)
    std::copy_n(batch.targets.spans.begin() + 2 * ptrdiff_t{begin}, spans.count, upload_.floats(spans).begin());
  const Upload::List covered = upload_.list(batch.targets.covered.empty() ? 0 : static_cast<int64_t>(count));
  if (covered.count)
    std::copy_n(batch.targets.covered.begin() + begin, covered.count, upload_.floats(covered).begin());
  std::optional<Row> source;
  if (!batch.sources.empty()) {
    source.emplace(upload_, batch.sources, std::span<const int32_t>{}, batch.source_offsets, f, l);
    source->check(model.config());
  }
  const auto outputs_before = begin - std::count(labels.begin(), labels.begin() + begin, -100);
  const Counters counters(upload_, stream, begin), output_counters(upload_, stream, outputs_before),
      source_counters(upload_, stream, source ? batch.source_offsets[f] : 0);
  upload_.send(arena);

  DeviceBatch result{.tokens = {.ids = upload_.tensor(row.ids)}, .layout = counters.of(row.layout())};
  if (types.count) result.tokens.types = upload_.tensor(types);
  result.outputs = {upload_.tensor(outputs), output_counters.of({upload_.segments(output_offsets, longest),
                                                                 upload_.tensor(output_positions)})};
  result.labels = upload_.tensor(label_list);
  if (weights.count) result.weights = upload_.tensor(weights, DType::f32);
  if (penalties.count) result.penalties = upload_.tensor(penalties, DType::f32);
  if (spans.count)
    result.spans = upload_.tensor(spans, DType::f32).reshaped({static_cast<int64_t>(count), 2});
  if (covered.count) result.covered = upload_.tensor(covered, DType::f32);
  if (!source) return result;
  result.tokens.source_ids = upload_.tensor(source->ids);
  result.source = source_counters.of(source->layout());
  return result;
}

}  // namespace engine
