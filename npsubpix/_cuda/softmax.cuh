// What softmax over windows and over maps share. Weights are exp((v - shift) / T), with the greatest
// value of the window or of the map as the shift. NaN makes all of them NaN. Pixels of +inf share all
// weight, and so do those of -inf if there is nothing else.

// A pixel this far below the shift, in exponents, has the weight 0, and times that it is 0.
#define LEAST_EXPONENT (-1000)

FORMULA float exponential(float a) { return expf(a); }
FORMULA double exponential(double a) { return exp(a); }

// The greater of two numbers; NaN if one is.
template <typename T>
FORMULA T raised(T best, T v) {
  return v > best || v != v ? v : best;
}

template <typename T>
FORMULA T exponent(T v, T shift, T scale) {
  if (v == shift) return 0;  // also for infinity less infinity
  const T a = (v - shift) * scale;
  return a < (T)LEAST_EXPONENT ? (T)LEAST_EXPONENT : a;
}

// Temperatures on a GPU are not looked at before a kernel does; a wrong one makes NaN of its map.
FORMULA double checked_temperature(double t) { return t > 0 && isfinite(t) ? t : not_a_number(); }

// Sums over the threads of a block, added in a fixed order. All threads get them.
template <int COUNT>
FORMULA void sum_over_block(double (&sums)[COUNT]) {
  __shared__ double parts[COUNT][THREADS];
  for (int n = 0; n < COUNT; ++n) parts[n][threadIdx.x] = sums[n];
  for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half)
      for (int n = 0; n < COUNT; ++n) parts[n][threadIdx.x] += parts[n][threadIdx.x + half];
  }
  __syncthreads();
  for (int n = 0; n < COUNT; ++n) sums[n] = parts[n][0];
  __syncthreads();
}

FORMULA double raise_over_block(double v) {
  __shared__ double parts[THREADS];
  parts[threadIdx.x] = v;
  for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) parts[threadIdx.x] = raised(parts[threadIdx.x], parts[threadIdx.x + half]);
  }
  __syncthreads();
  const double top = parts[0];
  __syncthreads();
  return top;
}
