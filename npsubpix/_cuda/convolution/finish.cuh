// What becomes of sums. Results that will be integers are rounded, kept in their range, and 0 for NaN.
struct Finish {
  bool integer;
  double low, high;

  __device__ __forceinline__ Real operator()(Real v) const {
    return !integer ? v : (v == v ? (Real)fmin(fmax(rint((double)v), low), high) : (Real)0);
  }
};
