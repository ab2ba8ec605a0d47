#include "commands/data_summary.h"

#include <algorithm>
#include <iomanip>
#include <numeric>
#include <ostream>
#include <string>

namespace engine {

namespace {

constexpr int64_t bins = 10, widest_bar = 40;
constexpr size_t labels_shown = 10;

// A token's text in quotes, with line ends and other control characters written out.
std::string token_text(const Reading& reading, int32_t id) {
  if (!reading.token) return std::to_string(id);
  std::string text = "\"";
  for (const char c : reading.token(id)) {
    if (c == '\n') text += "\\n";
    else if (c == '\t') text += "\\t";
    else if (static_cast<unsigned char>(c) < 0x20) text += "\\x" + std::to_string(c);
    else text += c;
  }
  return text + "\"";
}

std::string label_text(const Reading& reading, int32_t label) {
  if (reading.classes.empty()) return token_text(reading, label);
  const auto index = static_cast<size_t>(label);
  return index < reading.classes.size() ? reading.classes[index] : "class " + std::to_string(label);
}

std::string percent(int64_t part, int64_t all) {
  const auto tenths = all ? (1000 * part + all / 2) / all : 0;
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " %";
}

}  // namespace

void DataSummary::add(const SequenceBatch& batch) {
  for (int64_t s = 0; s < batch.sequences(); ++s) lengths_.push_back(batch.tokens_of(s, s + 1));
  tokens_ += static_cast<int64_t>(batch.tokens.size());
  sources_ += static_cast<int64_t>(batch.sources.size());
  scored_ += batch.scored();
  has_spans_ = has_spans_ || !batch.targets.spans.empty();
  for (const int32_t label : batch.targets.labels)
    if (label != -100) ++labels_[label];
}

void DataSummary::print_lengths(std::ostream& out) const {
  std::vector<int64_t> sorted = lengths_;
  std::sort(sorted.begin(), sorted.end());
  const int64_t low = sorted.front(), high = sorted.back();
  out << "lengths: " << low << " to " << high << " tokens, median " << sorted[sorted.size() / 2] << ", mean "
      << (std::accumulate(sorted.begin(), sorted.end(), int64_t{0}) + sequences() / 2) / sequences() << '\n';
  const int64_t width = std::max<int64_t>(1, (high - low + bins) / bins);
  std::vector<int64_t> counts(static_cast<size_t>((high - low) / width + 1));
  for (const int64_t length : sorted) ++counts[static_cast<size_t>((length - low) / width)];
  const int64_t most = *std::max_element(counts.begin(), counts.end());
  for (size_t i = 0; i < counts.size(); ++i) {
    const int64_t first = low + static_cast<int64_t>(i) * width;
    std::string name = std::to_string(first);
    if (width > 1) name.append("-").append(std::to_string(std::min(high, first + width - 1)));
    out << "  " << std::setw(13) << name << ' ' << std::setw(9) << counts[i] << ' '
        << std::string(static_cast<size_t>((counts[i] * widest_bar + most - 1) / most), '#') << '\n';
  }
}

void DataSummary::print_labels(const Reading& reading, std::ostream& out) const {
  if (has_spans_) return;
  out << "labels: " << labels_.size() << (reading.classes.empty() ? " different tokens" : " classes") << '\n';
  std::vector<std::pair<int64_t, int32_t>> order;
  for (const auto& [label, count] : labels_) order.emplace_back(-count, label);
  std::sort(order.begin(), order.end());
  for (size_t i = 0; i < std::min(order.size(), labels_shown); ++i)
    out << "  " << std::setw(13) << label_text(reading, order[i].second) << ' ' << std::setw(9) << -order[i].first
        << "  " << percent(-order[i].first, scored_) << '\n';
}

void DataSummary::print(const Reading& reading, std::ostream& out) const {
  out << "sequences: " << sequences() << "\ntokens: " << tokens_;
  if (sources_) out << ", and " << sources_ << " of sources";
  out << "\nscored: " << scored_ << (has_spans_ ? " sequences with an answer or none" : " tokens, ");
  if (!has_spans_) out << percent(scored_, tokens_);
  out << '\n';
  if (lengths_.empty()) return;
  print_lengths(out);
  print_labels(reading, out);
}

void print_sequence(const SequenceBatch& batch, int64_t sequence, const Reading& reading, int64_t most_tokens,
                    std::ostream& out) {
  const auto at = [&](const std::vector<int32_t>& offsets, int64_t i) {
    return static_cast<size_t>(offsets[static_cast<size_t>(i)]);
  };
  const size_t begin = at(batch.offsets, sequence), end = at(batch.offsets, sequence + 1);
  if (batch.source_offsets.size() > static_cast<size_t>(sequence) + 1) {
    out << "  source:";
    for (size_t i = at(batch.source_offsets, sequence); i < at(batch.source_offsets, sequence + 1); ++i)
      out << ' ' << token_text(reading, batch.sources[i]);
    out << '\n';
  }
  const Targets& targets = batch.targets;
  for (size_t i = begin; i < std::min(end, begin + static_cast<size_t>(most_tokens)); ++i) {
    const int64_t position = batch.positions.empty() ? static_cast<int64_t>(i - begin) : batch.positions[i];
    out << "  " << std::setw(4) << position << ' ' << std::setw(7) << batch.tokens[i] << "  " << std::left
        << std::setw(18) << token_text(reading, batch.tokens[i])
        << std::right;
    if (!batch.types.empty()) out << " type " << batch.types[i];
    if (!targets.spans.empty()) {
      if (targets.spans[2 * i] > 0) out << "  an answer begins, weight " << targets.spans[2 * i];
      if (targets.spans[2 * i + 1] > 0) out << "  an answer ends, weight " << targets.spans[2 * i + 1];
    } else if (targets.labels[i] != -100) {
      out << " -> " << label_text(reading, targets.labels[i]);
      if (!targets.weights.empty() && targets.weights[i] != 1) out << ", weight " << targets.weights[i];
    }
    out << '\n';
  }
  if (end - begin > static_cast<size_t>(most_tokens))
    out << "  and " << end - begin - static_cast<size_t>(most_tokens) << " more tokens\n";
}

}  // namespace engine
