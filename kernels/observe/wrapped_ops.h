// A backend around others: every operation arrives at one template, Derived::run(name, args, method).
#pragma once

#include "kernels/ops.h"

namespace engine {

// `method` is the operation's method: (ops.*method)(args) runs it on a backend. Derived may overload run for the
// arguments of an operation that it treats differently. Base is Ops, or an interface that adds to it.
template <class Derived, class Base = Ops>
class WrappedOps : public Base {
 public:
#define ENGINE_WRAP(name, Args) \
  void name(const Args& args) override { static_cast<Derived&>(*this).run(#name, args, &Ops::name); }
  ENGINE_OPERATIONS(ENGINE_WRAP)
#undef ENGINE_WRAP
};

}  // namespace engine
