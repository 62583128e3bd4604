// CUDA C++ on the host: what kernels need of the language, and a scheduler of the threads of a block.
//
// Blocks run one after the other, and the threads of a block as fibers. A thread runs until it ends
// or waits at __syncthreads(); when all have, those that wait go on. A kernel without barriers never
// leaves its first fiber, and so is a plain loop. Threads start in the opposite order in every other
// phase between barriers, and blocks last to first: a kernel that lacks a barrier, or counts on an
// order, gives wrong results.
//
// Not covered: warps, textures, atomics of several threads at once, and anything about speed.
#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

using std::isfinite;
using std::exp;
using std::erf;

struct Dim3 {
  unsigned x = 1, y = 1, z = 1;
};
static Dim3 threadIdx, blockIdx, blockDim, gridDim;

#define __global__
#define __device__
#define __forceinline__ inline
#define __noinline__
#define __restrict__
#define __launch_bounds__(...)
#define __shared__ static  // blocks run one after another, so one array serves them all

static inline int __float_as_int(float v) {
  int bits;
  std::memcpy(&bits, &v, sizeof bits);
  return bits;
}
static inline float __int_as_float(int bits) {
  float v;
  std::memcpy(&v, &bits, sizeof v);
  return v;
}
static inline long long __double_as_longlong(double v) {
  long long bits;
  std::memcpy(&bits, &v, sizeof bits);
  return bits;
}
static inline double __longlong_as_double(long long bits) {
  double v;
  std::memcpy(&v, &bits, sizeof v);
  return v;
}

template <typename T>
static T atomicAdd(T* place, T value) {
  const T old = *place;
  *place = old + value;
  return old;
}
template <typename T>
static T atomicMin(T* place, T value) {
  const T old = *place;
  *place = value < old ? value : old;
  return old;
}
template <typename T>
static T atomicExch(T* place, T value) {
  const T old = *place;
  *place = value;
  return old;
}
template <typename T>
static T atomicOr(T* place, T value) {
  const T old = *place;
  *place = old | value;
  return old;
}

namespace host {

constexpr size_t STACK = 1 << 17;

// A place in a thread of execution that is left and come back to. swapcontext asks the system to keep
// the signals, which takes longer than the work between two barriers: it is for the first time alone.
struct Place {
  ucontext_t context;
  jmp_buf jump;
  bool begun = false;
};

static void leave(Place& from, Place& to) {
#if defined(__SANITIZE_ADDRESS__)
  swapcontext(&from.context, &to.context);
#else
  if (_setjmp(from.jump)) return;
  from.begun = true;
  if (to.begun) _longjmp(to.jump, 1);
  to.begun = true;
  setcontext(&to.context);
#endif
}

struct Fiber {
  Place place;
  std::vector<char> stack;
  unsigned thread = 0;
  bool waits = false;
};

struct Block {
  Place scheduler;
  std::vector<Fiber*> fibers;  // kept from block to block
  std::vector<Fiber*> free;
  std::vector<Fiber*> waiting;
  Fiber* current = nullptr;
  unsigned next = 0;
  bool backwards = false;
  void (*body)(void*) = nullptr;
  void* of_body = nullptr;
};
static Block block;

// Takes one thread after the other until one of them waits.
static void fiber_main() {
  for (;;) {
    Fiber* self = block.current;
    while (block.next < blockDim.x) {
      self->thread = block.next++;
      threadIdx.x = block.backwards ? blockDim.x - 1 - self->thread : self->thread;
      block.body(block.of_body);
      self = block.current;
    }
    block.free.push_back(self);
    leave(self->place, block.scheduler);
  }
}

static void resume(Fiber* fiber) {
  block.current = fiber;
  leave(block.scheduler, fiber->place);
}

static Fiber* free_fiber() {
  if (block.free.empty()) {
    Fiber* fiber = new Fiber;
    fiber->stack.resize(STACK);
    ucontext_t& context = fiber->place.context;
    getcontext(&context);
    context.uc_stack.ss_sp = fiber->stack.data();
    context.uc_stack.ss_size = STACK;
    context.uc_link = nullptr;
    makecontext(&context, fiber_main, 0);
    block.fibers.push_back(fiber);
    block.free.push_back(fiber);
  }
  Fiber* fiber = block.free.back();
  block.free.pop_back();
  return fiber;
}

static void run_block() {
  block.next = 0;
  while (block.next < blockDim.x) resume(free_fiber());
  bool backwards = true;
  while (!block.waiting.empty()) {
    std::vector<Fiber*> round;
    round.swap(block.waiting);
    if (backwards) std::reverse(round.begin(), round.end());
    backwards = !backwards;
    for (Fiber* fiber : round) resume(fiber);
  }
}

template <typename... Types, size_t... I>
static void launch(void (*kernel)(Types...), unsigned blocks, unsigned threads, void** args,
                   std::index_sequence<I...>) {
  struct Call {
    void (*kernel)(Types...);
    void** args;
  } call{kernel, args};
  block.of_body = &call;
  block.body = [](void* of_body) {
    const Call* call = static_cast<Call*>(of_body);
    call->kernel(*static_cast<Types*>(call->args[I])...);
  };
  gridDim = Dim3{blocks};
  blockDim = Dim3{threads};
  for (unsigned b = blocks; b-- > 0;) {
    blockIdx = Dim3{b, 0, 0};
    threadIdx = Dim3{0, 0, 0};
    block.backwards = b % 2;
    run_block();
  }
}

template <typename... Types>
static int launch(void (*kernel)(Types...), unsigned blocks, unsigned threads, void** args, int count) {
  if (count != sizeof...(Types)) return sizeof...(Types);
  launch(kernel, blocks, threads, args, std::index_sequence_for<Types...>{});
  return count;
}

}  // namespace host

static inline void __syncthreads() {
  host::Fiber* self = host::block.current;
  const Dim3 own = threadIdx;
  host::block.waiting.push_back(self);
  host::leave(self->place, host::block.scheduler);
  threadIdx = own;
}
