// The formulas that kernels share, each a small function that is written once.
// An index has 64 bits everywhere: an image may have more than 2**31 pixels.
#define FORMULA __device__ __forceinline__
#define ROUTINE __device__ __noinline__  // a long function, which compilers would repeat at each call
#define KERNEL extern "C" __global__ void

typedef long long Index;
typedef signed char Int8;
typedef short Int16;
typedef int Int32;
typedef long long Int64;
typedef unsigned char UInt8;
typedef unsigned short UInt16;
typedef unsigned int UInt32;
typedef unsigned long long UInt64;

// A number of 16 bits that is only compared and copied.
struct Half {
  unsigned short bits;
};

// The work of a thread is `for (Index k = first_thread(); k < count; k += all_threads())`: that of
// its place in the grid, and what a grid of the greatest size leaves.
FORMULA Index first_thread() { return (Index)blockIdx.x * blockDim.x + threadIdx.x; }
FORMULA Index all_threads() { return (Index)gridDim.x * blockDim.x; }

template <typename T>
FORMULA T least(T a, T b) {
  return b < a ? b : a;
}

template <typename T>
FORMULA T greatest(T a, T b) {
  return b > a ? b : a;
}

FORMULA Index within(Index k, Index low, Index high) { return greatest(low, least(k, high)); }

FORMULA double infinity() { return __longlong_as_double(0x7ff0000000000000); }
FORMULA double not_a_number() { return __longlong_as_double(0x7ff8000000000000); }

// Pixels as integers of the same order, NaN above all. Integers are compared exactly whatever the
// compiler does with subnormal numbers, which CuPy has it take for zero.
template <typename T>
struct Order {
  typedef T Key;
  static __device__ __forceinline__ Key key(T v) { return v; }
  static __device__ __forceinline__ bool is_number(Key) { return true; }
  static __device__ __forceinline__ Key infinity() { return Key(); }  // there is none
  static __device__ __forceinline__ Key mirrored(Key k) { return (Key)~k; }  // greater for what is less
};

// Numbers of floating point are a sign and a magnitude; `INFINITE` is the magnitude of infinity.
template <typename KeyType, KeyType INFINITE>
struct OrderOfMagnitudes {
  typedef KeyType Key;
  static constexpr Key NOT_A_NUMBER = INFINITE + 2;
  static __device__ __forceinline__ Key of(bool negative, Key magnitude) {
    if (magnitude > INFINITE) return NOT_A_NUMBER;
    return negative ? -magnitude : magnitude;
  }
  static __device__ __forceinline__ bool is_number(Key k) { return k != NOT_A_NUMBER; }
  static __device__ __forceinline__ Key infinity() { return INFINITE; }
  static __device__ __forceinline__ Key mirrored(Key k) { return is_number(k) ? -k : k; }
};

template <>
struct Order<Half> : OrderOfMagnitudes<int, 0x7c00> {
  static __device__ __forceinline__ Key key(Half v) { return of(v.bits & 0x8000, v.bits & 0x7fff); }
};

template <>
struct Order<float> : OrderOfMagnitudes<int, 0x7f800000> {
  static __device__ __forceinline__ Key key(float v) {
    const int bits = __float_as_int(v);
    return of(bits < 0, bits & 0x7fffffff);
  }
};

template <>
struct Order<double> : OrderOfMagnitudes<Index, 0x7ff0000000000000> {
  static __device__ __forceinline__ Key key(double v) {
    const Index bits = __double_as_longlong(v);
    return of(bits < 0, bits & 0x7fffffffffffffff);
  }
};

FORMULA Index modulo(Index a, Index n) { return (a % n + n) % n; }

// The pixel at a place where an axis of n pixels goes on with a period: n, or 2 n with all pixels
// backwards, or 2 n - 2 without the ends again.
FORMULA Index repeated(Index place, Index n, Index period) {
  const Index k = modulo(place, period);
  return k < n ? k : period - k - (period == 2 * n ? 1 : 0);
}
