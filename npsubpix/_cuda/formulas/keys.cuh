// Pixels as integers of the same order, from which they can be had back. NaN, of whatever sign, is above all.
template <typename T>
struct Keys;

template <>
struct Keys<Int64> {
  typedef Int64 Key;
  typedef UInt64 Word;
  static constexpr Key TOP = 0x7fffffffffffffff;
  static __device__ __forceinline__ Key of(Int64 v) { return v; }
  static __device__ __forceinline__ Int64 back(Key k) { return k; }
  static __device__ __forceinline__ bool is_number(Key) { return true; }
};

template <>
struct Keys<float> {
  typedef Int32 Key;
  typedef UInt32 Word;
  static constexpr Key TOP = 0x7fffffff;
  static __device__ __forceinline__ Key of(float v) {
    const Key bits = __float_as_int(v);
    if ((bits & TOP) > 0x7f800000) return TOP;
    return bits < 0 ? bits ^ TOP : bits;
  }
  static __device__ __forceinline__ float back(Key k) { return __int_as_float(k < 0 ? k ^ TOP : k); }
  static __device__ __forceinline__ bool is_number(Key k) { return k != TOP; }
};

template <>
struct Keys<double> {
  typedef Int64 Key;
  typedef UInt64 Word;
  static constexpr Key TOP = 0x7fffffffffffffff;
  static __device__ __forceinline__ Key of(double v) {
    const Key bits = __double_as_longlong(v);
    if ((bits & TOP) > 0x7ff0000000000000) return TOP;
    return bits < 0 ? bits ^ TOP : bits;
  }
  static __device__ __forceinline__ double back(Key k) { return __longlong_as_double(k < 0 ? k ^ TOP : k); }
  static __device__ __forceinline__ bool is_number(Key k) { return k != TOP; }
};
