// The last step of sums: results that become integers are rounded and clipped to their range; NaN becomes 0.
struct Finish {
  bool integer;
  double low, high;

  __device__ __forceinline__ Real operator()(Real v) const {
    return !integer ? v : (v == v ? (Real)fmin(fmax(rint((double)v), low), high) : (Real)0);
  }
};
