// The model itself changes the rows of its training, after epochs in this order:
//   STaR     new problems are solved by the model. A row is added where its answer is right, and its solution is not
//            longer than the one step by step (Zelikman et al. 2022, without their hints and restarts).
//   augment  stored problems are solved again. A row replaces the stored one, or is added, where its answer is right
//            and it is shorter.
//   axe      rows that the model solves lose a step each (axe.h).
// All ranks make the same changes, and share the work.
#pragma once

#include "tasks/blotching/axe.h"
#include "tasks/blotching/problems.h"
#include "tasks/blotching/row_cache.h"
#include "tasks/blotching/writing.h"
#include "training/task.h"

namespace engine {

// Says after which epochs rows change.
class ChangeSchedule {
 public:
  explicit ChangeSchedule(const BlotchingConfig& config) : config_(config) {}

  // Takes the mean training loss of an epoch, and returns whether rows change after it.
  bool is_due(int64_t epoch, double loss);

  const std::vector<double>& window() const { return window_; }
  void set_window(std::vector<double> window) { window_ = std::move(window); }

 private:
  bool is_plateau(double loss);

  const BlotchingConfig& config_;
  std::vector<double> window_;  // losses of the last epochs, the oldest first
};

// Counts what was tried and what changed.
struct ChangeCounts {
  int64_t star_tried = 0, star_kept = 0, aug_tried = 0, aug_kept = 0, axe_tried = 0, axe_removed = 0;

  // Calls each(name, number) for every one of them.
  template <class Self, class Each>
  static void visit(Self& self, const Each& each) {
    each("star_tried", self.star_tried);
    each("star_kept", self.star_kept);
    each("aug_tried", self.aug_tried);
    each("aug_kept", self.aug_kept);
    each("axe_tried", self.axe_tried);
    each("axe_removed", self.axe_removed);
  }
};

// The examples of an epoch's changes, as text for people.
struct ChangeExamples {
  std::string star, aug, axe;
};

class RowChanges {
 public:
  RowChanges(const BlotchingConfig& config, const BlotchLevels& levels, const RowFormat& format, ProblemSource& source,
             RowCache& cache, uint64_t seed)
      : config_(config), levels_(levels), format_(format), source_(source), cache_(cache), seed_(seed) {}

  // Makes all changes that are due after an epoch. longest is how many tokens a row may have.
  ChangeExamples run(Machine& machine, Model& model, const SharedGenerator& generator, int64_t epoch, size_t longest,
                     ChangeCounts& counts);

 private:
  enum class Use : uint64_t { star_problems = 1, star, augment_order, augment, axe_order, axe };
  uint64_t stream(Use use, int64_t epoch) const;
  // A seed of its own for each loop of each change.
  uint64_t seed_of(Use use, int64_t epoch, int64_t loop) const;
  Writing writing(const SharedGenerator& generator, double share, double temperature, uint64_t seed) const;
  // Returns the places of the rows of a loop, by the order of this epoch.
  std::vector<uint32_t> rows_of_loop(const std::vector<uint32_t>& order, int64_t loop) const;
  int64_t loops(int64_t wanted) const;  // -1: as many as take all rows, and never more

  void star(const SharedGenerator& generator, int64_t epoch, size_t longest, ChangeCounts& counts, std::string& text);
  void augment(const SharedGenerator& generator, int64_t epoch, ChangeCounts& counts, std::string& text);
  void axe(Machine& machine, Model& model, const SharedGenerator& generator, int64_t epoch, ChangeCounts& counts,
           std::string& text);

  const BlotchingConfig& config_;
  const BlotchLevels& levels_;
  const RowFormat& format_;
  ProblemSource& source_;
  RowCache& cache_;
  uint64_t seed_;
};

}  // namespace engine
