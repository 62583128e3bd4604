// Keeps the GPU busy for some of its cycles, so that work waits in its queue while the host hands out more.
extern "C" __global__ void hold(long long cycles) {
  const long long start = clock64();
  while (clock64() - start < cycles) {
  }
}
