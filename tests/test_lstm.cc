// Every row that the operation computes follows from the row before, as the operation stored it, by the reference's
// formulas. So an error is that of one step, however long a sequence is.
#include "kernels/lstm/lstm.h"

#include "kernels/lstm/lstm_ref.h"
#include "tests/invariance.h"

namespace engine::test::test_lstm {

namespace {

using Reference = reference::Lstm<double>;

struct Shapes {
  std::vector<int> lengths;
  int64_t width;
  bool has_states;  // before and behind the sequences, and their gradients
};
// Some widths are vectors on every instruction set and device, some are not, and some are partly.
const std::vector<Shapes> all_shapes{{{5, 1, 9}, 8, true},   {{1}, 1, false},           {{3, 0, 3, 7, 1}, 21, true},
                                     {{2, 0, 4}, 32, false}, {{1, 1, 1, 0, 1}, 16, true}, {{17, 4, 11, 17}, 12, false}};

Values part_of(const Values& all, int64_t row, int64_t width) {
  return {all.begin() + row * width, all.begin() + (row + 1) * width};
}

// An LSTM of given sequences with all its tensors.
struct Problem {
  Bench& bench;
  std::vector<int> offsets{0};
  int64_t width, rows, sequences;
  LstmForwardArgs forward;
  LstmBackwardArgs backward;
  Values sums;  // what the gates held before

  Problem(Bench& bench_, const Shapes& shapes) : bench(bench_), width(shapes.width) {
    int longest = 0;
    for (const int length : shapes.lengths) {
      offsets.push_back(offsets.back() + length);
      longest = std::max(longest, length);
    }
    rows = offsets.back(), sequences = std::ssize(shapes.lengths);
    const DType stored = bench.compute;
    const Segments segments = Segments::packed(bench.integers({sequences + 1}, offsets), longest);
    const Tensor gates = bench.normal(stored, {rows, 4 * width}), y = bench.unset(stored, {rows, width}),
                 c = bench.unset(DType::f32, {rows, width});
    sums = bench.values(gates);
    const Tensor weight = bench.normal(stored, {4 * width, width}, 0.5);
    // A first h is exact in the dtype of y, in which it is multiplied.
    const auto state = [&] {
      if (!shapes.has_states) return Tensor{};
      return bench.from(DType::f32, {sequences, width}, bench.values(bench.normal(stored, {sequences, width})));
    };
    const auto result = [&] { return shapes.has_states ? bench.unset(DType::f32, {sequences, width}) : Tensor{}; };
    forward = {.gates = gates, .weight = weight, .segments = segments, .first_h = state(), .first_c = state(), .y = y,
               .c = c, .last_h = result(), .last_c = result(), .compute = bench.compute};
    backward = {.gates = gates, .weight = weight, .segments = segments, .first_h = forward.first_h,
                .first_c = forward.first_c, .y = y, .c = c, .dy = bench.normal(stored, {rows, width}),
                .dlast_h = state(), .dlast_c = state(), .dgates = bench.unset(stored, {rows, 4 * width}),
                .h_before = bench.unset(stored, {rows, width}), .dfirst_h = result(), .dfirst_c = result(),
                .compute = bench.compute};
  }

  void run() {
    bench.fill(forward.gates, sums);
    bench.ops.lstm_forward(forward);
    bench.ops.lstm_backward(backward);
  }
  std::vector<double> results() const {
    std::vector<double> all;
    for (const Tensor& tensor : {forward.gates, forward.y, forward.c, forward.last_h, forward.last_c, backward.dgates,
                                 backward.h_before, backward.dfirst_h, backward.dfirst_c})
      if (tensor) append(all, bench.values(tensor));
    return all;
  }
  Values state_of(const Tensor& states, int64_t s) const {
    return states ? part_of(bench.values(states), s, width) : Values(static_cast<size_t>(width), 0.0);
  }
  // Returns the reference of one row behind these states.
  Reference one_row(const Values& h, const Values& c) const {
    return {.width = static_cast<size_t>(width), .offsets = {0, 1}, .weight = bench.values(forward.weight),
            .first_h = h, .first_c = c};
  }
};

constexpr double roundings = 12 * 0x1p-24;  // of some operations on numbers up to 1

// Checks one row's gates, c and y, behind h and c of the row before.
void check_forward_row(const Problem& p, int64_t row, const Values& h, const Values& before) {
  const auto width = static_cast<size_t>(p.width);
  Reference reference = p.one_row(h, before), sizes = p.one_row(magnitudes(h), {});
  sizes.weight = magnitudes(sizes.weight);
  const Values sums = part_of(p.sums, row, 4 * p.width);
  reference.forward(sums);
  Values errors(4 * width), of_gates, of_c, of_y;
  for (size_t j = 0; j < 4 * width; ++j) {
    double size = std::abs(sums[j]);
    for (size_t k = 0; k < width; ++k) size += sizes.first_h[k] * sizes.weight[j * width + k];
    errors[j] = sum_error(p.width + 1) * size + roundings;
    of_gates.push_back(errors[j] + stored_error(reference.gates[j], p.bench.compute));
  }
  for (size_t j = 0; j < width; ++j) {
    const Values& g = reference.gates;
    const double of_cell = errors[width + j] * std::abs(before[j]) + errors[j] * std::abs(g[2 * width + j]) +
                           errors[2 * width + j] * g[j] + roundings * (std::abs(before[j]) + 1);
    of_c.push_back(of_cell);
    of_y.push_back(errors[3 * width + j] + of_cell + roundings + stored_error(reference.y[j], p.bench.compute));
  }
  CHECK_ELEMENTS(part_of(p.bench.values(p.forward.gates), row, 4 * p.width), reference.gates, of_gates);
  CHECK_ELEMENTS(part_of(p.bench.values(p.forward.c), row, p.width), reference.c, of_c);
  CHECK_ELEMENTS(part_of(p.bench.values(p.forward.y), row, p.width), reference.y, of_y);
}

// The gradients that a row gives to the one before, with their errors.
struct Given {
  Values dh, dh_errors, dc, dc_errors;
};

// Checks one row's gradients, and takes what the row behind gave to what this one gives.
void check_backward_row(const Problem& p, int64_t row, const Values& h, const Values& before, Given& given) {
  const auto width = static_cast<size_t>(p.width);
  Reference reference = p.one_row(h, before);
  reference.gates = part_of(p.bench.values(p.forward.gates), row, 4 * p.width);
  reference.y = part_of(p.bench.values(p.forward.y), row, p.width);
  reference.c = part_of(p.bench.values(p.forward.c), row, p.width);
  const Values dy = part_of(p.bench.values(p.backward.dy), row, p.width);
  reference.backward(dy, given.dh, given.dc);
  Values errors(4 * width);
  for (size_t j = 0; j < width; ++j) {
    const double dh = std::abs(given.dh[j]) + std::abs(dy[j]), dc = std::abs(given.dc[j]) + dh;
    const double of_dh = given.dh_errors[j] + roundings * dh;
    const double of_dc = given.dc_errors[j] + of_dh + roundings * dc;
    for (size_t gate : {0, 1, 2}) errors[gate * width + j] = (of_dc + roundings * dc);
    errors[width + j] *= std::abs(before[j]);
    errors[3 * width + j] = of_dh;
    given.dc_errors[j] = of_dc;
  }
  for (size_t j = 0; j < 4 * width; ++j) errors[j] += stored_error(reference.dgates[j], p.bench.compute);
  given.dc = reference.dfirst_c;
  const Values dgates = part_of(p.bench.values(p.backward.dgates), row, 4 * p.width);
  CHECK_ELEMENTS(dgates, reference.dgates, errors);
  CHECK(part_of(p.bench.values(p.backward.h_before), row, p.width) == h);
  // The product has the gradients as they were stored.
  for (size_t k = 0; k < width; ++k) {
    double sum = 0, size = 0;
    for (size_t j = 0; j < 4 * width; ++j) {
      sum += dgates[j] * reference.weight[j * width + k];
      size += std::abs(dgates[j] * reference.weight[j * width + k]);
    }
    given.dh[k] = sum;
    given.dh_errors[k] = sum_error(4 * p.width) * size;
  }
}

void check(Problem& p) {
  p.run();
  const Values y = p.bench.values(p.forward.y), c = p.bench.values(p.forward.c);
  for (int64_t s = 0; s < p.sequences; ++s) {
    CAPTURE(s);
    const int64_t begin = p.offsets[static_cast<size_t>(s)], end = p.offsets[static_cast<size_t>(s) + 1];
    const auto h_before = [&](int64_t row) {
      return row == begin ? p.state_of(p.forward.first_h, s) : part_of(y, row - 1, p.width);
    };
    const auto c_before = [&](int64_t row) {
      return row == begin ? p.state_of(p.forward.first_c, s) : part_of(c, row - 1, p.width);
    };
    for (int64_t row = begin; row < end; ++row) check_forward_row(p, row, h_before(row), c_before(row));
    if (p.forward.last_h) {
      CHECK(p.state_of(p.forward.last_h, s) == h_before(end));
      CHECK(p.state_of(p.forward.last_c, s) == c_before(end));
    }
    const Values none(static_cast<size_t>(p.width), 0.0);
    Given given{p.state_of(p.backward.dlast_h, s), none, p.state_of(p.backward.dlast_c, s), none};
    for (int64_t row = end; row-- > begin;) check_backward_row(p, row, h_before(row), c_before(row), given);
    if (!p.backward.dfirst_h) continue;
    const auto errors_of = [](const Values& values, const Values& errors) {
      return sum_of(errors, few_roundings(values, DType::f32));
    };
    CHECK_ELEMENTS(p.state_of(p.backward.dfirst_h, s), given.dh, errors_of(given.dh, given.dh_errors));
    CHECK_ELEMENTS(p.state_of(p.backward.dfirst_c, s), given.dc, errors_of(given.dc, given.dc_errors));
  }
}

}  // namespace

TEST_CASE("lstm: the reference's gradients are the derivatives") {
  Random random(4, 0);
  const auto normal = [&](size_t count) {
    Values values(count);
    for (double& value : values) value = static_cast<double>(random.normal());
    return values;
  };
  constexpr size_t width = 3, rows = 6, sequences = 3;
  Values sums = normal(rows * 4 * width);
  Reference reference{.width = width, .offsets = {0, 4, 4, 6}, .weight = normal(4 * width * width),
                      .first_h = normal(sequences * width), .first_c = normal(sequences * width)};
  const Values dy = normal(rows * width), dlast_h = normal(sequences * width), dlast_c = normal(sequences * width);
  const auto loss = [&] {
    reference.forward(sums);
    return dot(reference.y, dy) + dot(reference.last_h, dlast_h) + dot(reference.last_c, dlast_c);
  };
  loss();
  reference.backward(dy, dlast_h, dlast_c);
  check_derivative(Values(reference.dgates), sums, loss);
  check_derivative(Values(reference.dweight), reference.weight, loss);
  check_derivative(Values(reference.dfirst_h), reference.first_h, loss);
  check_derivative(Values(reference.dfirst_c), reference.first_c, loss);
}

TEST_CASE("lstm: every row follows from the row before as in the reference, forward and backward") {
  on_every_backend([](Bench& bench) {
    for (const Shapes& shapes : all_shapes) {
      CAPTURE(shapes.width);
      const ArenaScope scope(bench.arena);
      Problem problem(bench, shapes);
      check(problem);
    }
  });
}

TEST_CASE("lstm: large sums saturate the gates and give no NaN") {
  on_every_backend([](Bench& bench) {
    Problem problem(bench, {{3}, 4, true});
    for (double& sum : problem.sums) sum *= 200;
    problem.run();
    for (const double value : problem.results()) CHECK(std::isfinite(value));
    const Values gates = bench.values(problem.forward.gates);
    CHECK(*std::max_element(gates.begin(), gates.end()) == 1);
    CHECK(*std::min_element(gates.begin(), gates.end()) == -1);
  });
}

TEST_CASE("lstm: threads change nothing, nor does where tensors lie or whether the caller packed the weight") {
  on_every_backend([](Bench& bench) {
    std::vector<int> lengths;
    for (int s = 0; s < 40; ++s) lengths.push_back(static_cast<int>(bench.random.below(12)));
    Problem problem(bench, {lengths, 48, true});
    check_same_at_any_thread_count([&] {
      problem.run();
      return problem.results();
    });
    const std::vector<double> expected = problem.results();
    const auto bytes = static_cast<int64_t>(bench.ops.packed_bytes(48, 4 * 48, bench.compute));
    problem.forward.packed_weight = bench.arena.make(DType::u8, {bytes});
    bench.ops.pack_matrix({.b = problem.forward.weight,
                           .transpose_b = true,
                           .compute = bench.compute,
                           .packed = problem.forward.packed_weight});
    problem.run();
    CHECK(problem.results() == expected);
    // Copies of all tensors whose vectors are not aligned.
    for (Tensor* tensor : {&problem.forward.gates, &problem.forward.y, &problem.forward.c, &problem.backward.dgates,
                           &problem.backward.h_before, &problem.backward.dy})
      *tensor = copy_behind(bench, *tensor, 1);
    problem.backward.gates = problem.forward.gates;
    problem.backward.y = problem.forward.y;
    problem.backward.c = problem.forward.c;
    problem.run();
    CHECK(problem.results() == expected);
  });
}

TEST_CASE("lstm: a sequence in pieces, each behind the states of the one before, gives the same as whole") {
  on_every_backend([](Bench& bench) {
    Problem whole(bench, {{9}, 16, true});
    whole.run();
    const Values y = bench.values(whole.forward.y), c = bench.values(whole.forward.c);
    Tensor h = whole.forward.first_h, cells = whole.forward.first_c;
    int64_t done = 0;
    for (const int64_t count : {4, 1, 4}) {
      Problem piece(bench, {{static_cast<int>(count)}, 16, true});
      piece.sums = {whole.sums.begin() + done * 64, whole.sums.begin() + (done + count) * 64};
      piece.forward.weight = piece.backward.weight = whole.forward.weight;
      piece.forward.first_h = h, piece.forward.first_c = cells;
      piece.run();
      const auto check_part = [&](const Tensor& part, const Values& all) {
        const Values wanted(all.begin() + done * 16, all.begin() + (done + count) * 16);
        CHECK(relative_difference(bench.values(part), wanted) <= 16 * epsilon_of(bench.compute));
      };
      check_part(piece.forward.y, y);
      check_part(piece.forward.c, c);
      h = piece.forward.last_h, cells = piece.forward.last_c;
      done += count;
    }
    CHECK(relative_difference(bench.values(h), bench.values(whole.forward.last_h)) <= 16 * epsilon_of(bench.compute));
  });
}

TEST_CASE("lstm: no sequences, and what does not fit is an error that names it") {
  on_every_backend([](Bench& bench) {
    Problem empty(bench, {{}, 8, true});
    empty.run();
    Problem none(bench, {{0, 0}, 8, true});
    none.run();
    CHECK(bench.values(none.forward.last_h) == bench.values(none.forward.first_h));
    CHECK(bench.values(none.backward.dfirst_c) == bench.values(none.backward.dlast_c));

    Problem problem(bench, {{3, 2}, 8, true});
    const auto error = [&](const std::function<void(LstmForwardArgs&)>& change) -> std::string {
      LstmForwardArgs args = problem.forward;
      change(args);
      try {
        bench.ops.lstm_forward(args);
        bench.finish();
      } catch (const Error& e) {
        return e.what();
      }
      return "";
    };
    CHECK(error([](auto&) {}) == "");
    CHECK(error([&](auto& a) { a.y = bench.unset(bench.compute, {5, 7}); }) == "lstm_forward: y is [5, 7], not [5, 8]");
    CHECK(error([&](auto& a) { a.c = {}; }) == "lstm_forward: c is missing");
    CHECK(error([&](auto& a) { a.first_c = {}; }) == "lstm_forward: first_c is missing");
    CHECK(error([&](auto& a) { a.last_h = bench.zeros({3, 8}); }) == "lstm_forward: last_h is [3, 8], not [2, 8]");
    CHECK(error([&](auto& a) { a.weight = bench.zeros({8, 8}); }) == "lstm_forward: weight is [8, 8], not [32, 8]");
    CHECK(error([&](auto& a) { a.packed_weight = bench.arena.make(DType::u8, {3}); })
              .starts_with("lstm_forward: packed_weight has 3 bytes, must have "));
    CHECK(error([&](auto& a) { a.segments = Segments::packed(bench.integers({3}, {0, 3, 6}), 3); }) ==
          (bench.is_device ? "lstm: the last row of segment[1] is 5, not in 0 ... 4"
                           : "lstm_forward: segment 1 has the rows 3 to 6 of 5"));
    LstmBackwardArgs args = problem.backward;
    args.h_before = bench.zeros({5, 9});
    CHECK_THROWS_AS(bench.ops.lstm_backward(args), Error);
    args = problem.backward;
    args.dgates = bench.zeros({4, 32});
    CHECK_THROWS_AS(bench.ops.lstm_backward(args), Error);
  });
}

}  // namespace engine::test::test_lstm
