// What the threads of a block do together.

// The greater of two numbers; NaN if one is.
template <typename T>
FORMULA T raised(T best, T v) {
  return v > best || v != v ? v : best;
}

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

// What the threads of a block have, joined in a fixed order. All threads get it.
template <typename T, typename Join>
FORMULA T joined_over_block(const T& own, Join join) {
  __shared__ T parts[THREADS];
  parts[threadIdx.x] = own;
  for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) parts[threadIdx.x] = join(parts[threadIdx.x], parts[threadIdx.x + half]);
  }
  __syncthreads();
  const T all = parts[0];
  __syncthreads();
  return all;
}

FORMULA double raise_over_block(double v) {
  return joined_over_block(v, [](double a, double b) { return raised(a, b); });
}

// What the threads before this one of its block have together.
FORMULA Index sum_before(Index own) {
  __shared__ Index sums[THREADS];
  sums[threadIdx.x] = own;
  for (unsigned step = 1; step < blockDim.x; step *= 2) {
    __syncthreads();
    const Index before = threadIdx.x >= step ? sums[threadIdx.x - step] : 0;
    __syncthreads();
    sums[threadIdx.x] += before;
  }
  __syncthreads();
  const Index before = threadIdx.x > 0 ? sums[threadIdx.x - 1] : 0;
  __syncthreads();
  return before;
}
