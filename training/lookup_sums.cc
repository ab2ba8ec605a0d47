#include "training/lookup_sums.h"

#include <algorithm>

#include "core/arena_room.h"

namespace engine {

namespace {

// Returns the tables of tokens whose gradients travel.
std::vector<const Parameter*> looked_up(const Machine& machine, const Optimizer& optimizer,
                                        const TrainingConfig& config) {
  std::vector<const Parameter*> tables;
  if (machine.communicator.size() == 1) return tables;
  for (const Parameter& p : optimizer.parameters().all())
    if ((p.is_lookup || (p.is_tied && config.reduction_shards == 0)) && !optimizer.is_frozen(p)) tables.push_back(&p);
  return tables;
}

size_t bytes_apart(const std::vector<const Parameter*>& tables) {
  size_t bytes = 0;
  for (const Parameter* p : tables)
    if (p->is_tied) bytes += arena_room(static_cast<size_t>(p->shape.count()) * sizeof(float));
  return bytes;
}

}  // namespace

void NamedRows::begin(int64_t table_rows) {
  is_named_.assign(static_cast<size_t>(table_rows), 0);
  count_ = 0;
}

void NamedRows::add(const SequenceBatch& batch, int64_t first, int64_t last) {
  const auto f = static_cast<size_t>(first), l = static_cast<size_t>(last);
  add(batch.tokens, batch.offsets[f], batch.offsets[l]);
  if (!batch.sources.empty()) add(batch.sources, batch.source_offsets[f], batch.source_offsets[l]);
}

void NamedRows::add(const std::vector<int32_t>& tokens, int32_t begin, int32_t end) {
  for (int32_t i = begin; i < end && are_few(); ++i) {
    const auto row = static_cast<size_t>(tokens[static_cast<size_t>(i)]);
    if (row >= is_named_.size() || is_named_[row]) continue;  // the lookup itself refuses a token that has no row
    is_named_[row] = 1;
    ++count_;
  }
}

void NamedRows::write(std::span<int32_t> rows) const {
  size_t at = 0;
  for (size_t row = 0; row < is_named_.size(); ++row)
    if (is_named_[row]) rows[at++] = static_cast<int32_t>(row);
}

LookupSums::LookupSums(Machine& machine, const Optimizer& optimizer, const TrainingConfig& config)
    : machine_(machine),
      optimizer_(optimizer),
      config_(config),
      most_tokens_(tokens_at_once(optimizer.parameters())),
      arena_(machine.ops.memory(), bytes_apart(looked_up(machine, optimizer, config))) {
  for (const Parameter* p : looked_up(machine, optimizer, config)) {
    tables_.push_back({.parameter = p, .apart = p->is_tied ? arena_.make_zeros(DType::f32, p->shape) : Tensor{}});
    optimizer.parameters().gradients().set_apart(*p, tables_.back().apart);
    require(p->shape[0] == tables_[0].parameter->shape[0], "tables of tokens have several sizes");
    (p->is_tied ? has_tied_ : has_untied_) = true;
  }
}

LookupSums::~LookupSums() {
  Gradients& gradients = optimizer_.parameters().gradients();
  gradients.keep_apart(false);
  for (const Table& table : tables_) gradients.set_apart(*table.parameter, {});
}

size_t LookupSums::bytes() const { return arena_.used(); }

void LookupSums::list_rows(const SequenceBatch& batch) {
  const int64_t rows = tables_[0].parameter->shape[0];
  all_.begin(rows), last_.begin(rows);
  if (has_untied_) all_.add(batch, 0, batch.sequences());
  const int ranks = machine_.communicator.size();
  for (int rank = 0; has_tied_ && rank < ranks && last_.are_few(); ++rank) {
    const auto [begin, end] = sequences_of_part(batch, rank, ranks);
    const auto [first, last] = last_micro_batch(batch, begin, end, config_.micro_batch_size, most_tokens_);
    last_.add(batch, first, last);
  }
}

void LookupSums::begin(const SequenceBatch& batch) {
  if (tables_.empty()) return;
  list_rows(batch);
  optimizer_.parameters().gradients().keep_apart(last_.are_few());
}

bool LookupSums::takes(const Parameter& parameter) const {
  return all_.are_few() && std::any_of(tables_.begin(), tables_.end(), [&](const Table& table) {
           return table.parameter == &parameter && !table.apart;
         });
}

void LookupSums::make_rows() {
  upload_.clear();
  std::vector<Upload::List> lists;
  for (const Table& table : tables_) {
    const NamedRows& named = named_of(table);
    lists.push_back(upload_.list(named.are_few() ? named.count() : 0));
    if (named.are_few()) named.write(upload_[lists.back()]);
  }
  upload_.send(machine_.arena);
  for (size_t i = 0; i < tables_.size(); ++i) {
    tables_[i].index = upload_.tensor(lists[i]);
    tables_[i].rows = machine_.arena.make(DType::f32, {tables_[i].index.count(), tables_[i].parameter->shape[1]});
  }
}

void LookupSums::start() {
  if (tables_.empty()) return;
  make_rows();
  Gradients& gradients = optimizer_.parameters().gradients();
  for (const Table& table : tables_) {
    if (table.rows.count() == 0) continue;
    const Tensor& gradient = table.apart ? table.apart : gradients.sum(*table.parameter);
    machine_.ops.gather_rows({.x = gradient, .index = table.index, .y = table.rows});
    machine_.communicator.start_sum(std::span(table.rows.as<float>(), static_cast<size_t>(table.rows.count())),
                                    sum_order(config_));
  }
}

void LookupSums::finish() {
  Gradients& gradients = optimizer_.parameters().gradients();
  for (const Table& table : tables_) {
    if (table.rows.count() == 0) continue;
    const Tensor& gradient = gradients.sum(*table.parameter);
    if (!table.apart) {
      machine_.ops.scatter_rows({.x = table.rows, .index = table.index, .y = gradient});
      continue;
    }
    machine_.ops.embedding_backward({.tokens = table.index, .dy = table.rows, .dtoken_table = gradient});
    machine_.ops.memory().zero(table.rows.data, table.rows.bytes());
    machine_.ops.scatter_rows({.x = table.rows, .index = table.index, .y = table.apart});
  }
}

void LookupSums::reserve(const SequenceBatch& batch) {
  if (tables_.empty()) return;
  list_rows(batch);
  const ArenaScope scope(machine_.arena);
  make_rows();
}

}  // namespace engine
