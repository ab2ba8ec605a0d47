#include "kernels/observe/count_ops.h"

#include <algorithm>
#include <initializer_list>

#include "kernels/observe/arguments.h"
#include "kernels/observe/wrapped_ops.h"

namespace engine {

namespace {

// Pairs of a query and a key that it sees.
template <class Args>
double seen_pairs(const Args& a) {
  const auto rows = [](const Segments& segments, int64_t s) {
    return static_cast<double>(segments.end.as<int32_t>()[s] - segments.begin.as<int32_t>()[s]);
  };
  double pairs = 0;
  for (int64_t s = 0; s < a.queries.count(); ++s) {
    const double queries = rows(a.queries, s), keys = rows(a.keys, s);
    // Query i sees i + 1 + keys - queries of them, or none: the first that sees any sees this many.
    const double first = std::max(1.0, 1 + keys - queries), counted = std::min(queries, keys);
    pairs += a.causal ? counted * (first + keys) / 2 : queries * keys;
  }
  return pairs;
}

// A product of the queries with all rows of a relative table.
template <class Args>
double relative_product(const Args& a) {
  return a.relative.distances ? 2.0 * static_cast<double>(a.q.matrix.rows() * a.q.width * a.relative.keys.rows()) : 0;
}

double flops_of(const MatmulArgs& a) {
  const int64_t k = a.transpose_a ? a.a.rows() : a.a.cols();
  return 2.0 * static_cast<double>(a.c.count()) * static_cast<double>(k);
}
double flops_of(const AttentionForwardArgs& a) {
  return 4.0 * static_cast<double>(a.q.width) * seen_pairs(a) + 2 * relative_product(a);
}
double flops_of(const AttentionBackwardArgs& a) {
  return 10.0 * static_cast<double>(a.q.width) * seen_pairs(a) + 5 * relative_product(a);
}
double flops_of(const CrossEntropyArgs& a) {
  return (a.dx ? 6.0 : 2.0) * static_cast<double>(a.x.count()) * static_cast<double>(a.weight.rows());
}
template <class Args>
double flops_of(const Args&) {
  return 0;
}

struct Described {
  std::string shapes;
  double bytes = 0;
  int named = 0;

  void add(const char* name, const Tensor& tensor, Role role, double share = 1) {
    if (!tensor || tensor.count() == 0) return;
    bytes += static_cast<double>(tensor.bytes()) * share * (role == Role::both ? 2 : 1);
    if (named++ < 3) shapes += (shapes.empty() ? "" : ", ") + std::string(name) + " " + tensor.shape.text() + " " +
                               name_of(tensor.dtype);
  }
};

class CountOps final : public WrappedOps<CountOps> {
 public:
  explicit CountOps(std::vector<OperationCount>& counts) : counts_(counts) {}
  Memory& memory() override { return host_memory(); }
  size_t packed_bytes(int64_t k, int64_t n, DType compute) override {
    return static_cast<size_t>(k * n) * size_of(compute);
  }
  void pack_matrix(const PackArgs& args) override { run("pack_matrix", args, &Ops::pack_matrix); }

  template <class Args>
  void run(const char* name, const Args& args, void (Ops::*)(const Args&)) {
    Described described;
    Args own = args;
    if constexpr (requires { own.tensors; })
      describe(args, described);
    else
      each_tensor(own, [&](const char* argument, const Tensor& tensor, Role role) {
        described.add(argument, tensor, role, share_of(args, tensor));
      });
    DType compute = DType::f32;
    if constexpr (requires { args.compute; }) compute = args.compute;
    else if constexpr (requires { args.q; }) compute = args.q.matrix.dtype;
    count(name, described, compute, flops_of(args));
  }

 private:
  // Of a table at most as many rows as there are tokens; all of what is no table.
  static double share_looked_up(const Tensor& tokens, std::initializer_list<Tensor> tables, const Tensor& tensor) {
    for (const Tensor& table : tables)
      if (table && table.data == tensor.data)
        return std::min(1.0, static_cast<double>(tokens.count()) / static_cast<double>(table.rows()));
    return 1;
  }

  // Of a matrix of which only some columns (gathered rows: some rows, too) are used, the part that is.
  template <class Args>
  static double share_of(const Args& args, const Tensor& tensor) {
    const auto share = [](const Columns& columns) {
      return static_cast<double>(columns.width) / static_cast<double>(columns.matrix.cols());
    };
    if constexpr (requires { args.q; }) {
      if (tensor.data == args.q.matrix.data) return share(args.q);
    }
    if constexpr (requires { args.k; }) {
      if (tensor.data == args.k.matrix.data) return share(args.k);
    }
    if constexpr (requires { args.dq; }) {
      if (tensor.data == args.dq.matrix.data) return share(args.dq) / 2;  // written, not read
    }
    if constexpr (requires { args.token_table; })
      return share_looked_up(args.tokens, {args.token_table, args.position_table, args.type_table}, tensor);
    if constexpr (requires { args.dtoken_table; })
      return share_looked_up(args.tokens, {args.dtoken_table, args.dposition_table, args.dtype_table}, tensor);
    if constexpr (requires { args.index; }) {
      const double rows = static_cast<double>(args.index.count());
      for (const Columns& part : {args.x, args.y})
        if (tensor.data == part.matrix.data && part.matrix.rows())
          return share(part) * std::min(1.0, rows / static_cast<double>(part.matrix.rows()));
    }
    return 1;
  }

  static void describe(const AdamWArgs& args, Described& described) {
    for (AdamWTensor tensor : args.tensors)
      each_tensor(tensor, [&](const char* name, const Tensor& part, Role role) { described.add(name, part, role); });
  }
  static void describe(const SumOfSquaresArgs& args, Described& described) {
    for (const Tensor& tensor : args.tensors) described.add("tensors", tensor, Role::input);
  }

  void count(const char* name, const Described& described, DType compute, double flops) {
    for (OperationCount& known : counts_)
      if (known.name == name && known.shapes == described.shapes && known.compute == compute &&
          known.flops == flops && known.bytes == described.bytes) {
        ++known.calls;
        return;
      }
    counts_.push_back({name, described.shapes, compute, 1, flops, described.bytes});
  }

  std::vector<OperationCount>& counts_;
};

}  // namespace

std::unique_ptr<Ops> make_count_ops(std::vector<OperationCount>& counts) {
  return std::make_unique<CountOps>(counts);
}

}  // namespace engine
