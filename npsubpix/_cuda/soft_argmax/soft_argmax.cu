// Softmax over windows: the mean position and value of each, and the adjoint.
#include "formulas.cuh"
#include "block.cuh"
#include "softmax.cuh"

// Along each axis of maps of shape (images, depth, height, width): its size, the length of a window, the stride, the
// padding, and the number of windows.
struct Axis {
  Index size, window, stride, pad, count;

  // The part of the n-th window that is on the map: first pixel, and the one after the last.
  __device__ __forceinline__ Index start(Index n) const { return n * stride - pad; }
  __device__ __forceinline__ Index first(Index n) const { return greatest(start(n), (Index)0); }
  __device__ __forceinline__ Index last(Index n) const { return least(start(n) + window, size); }
  __device__ __forceinline__ bool holds(Index n) const { return start(n) >= 0 && start(n) + window <= size; }
  __device__ __forceinline__ Index centre(Index n) const { return start(n) + (window - 1) / 2; }
  __device__ __forceinline__ Real offset(Index k, Index n) const {
    return (Real)(k - start(n)) - (Real)0.5 * (Real)(window - 1);
  }
  __device__ __forceinline__ double middle(Index n) const { return (double)start(n) + 0.5 * (double)(window - 1); }
  // The windows that cover a pixel.
  __device__ __forceinline__ Index from(Index k) const {
    const Index above = k + pad - window;  // a window that starts here or before has ended
    return above < 0 ? 0 : above / stride + 1;
  }
  __device__ __forceinline__ Index to(Index k) const { return least((k + pad) / stride + 1, count); }
};

struct Windows {
  Axis z, y, x;

  __device__ __forceinline__ Index pixels() const { return z.size * y.size * x.size; }
  __device__ __forceinline__ Index count() const { return z.count * y.count * x.count; }
};

// Keep temperatures, and their inverses, finite in the precision of the sums: long before that, weights are 0 and 1,
// or equal.
FORMULA double held_temperature(double temperature) {
  const double t = checked_temperature(temperature);
  const double most = sizeof(Real) == 4 ? MOST_TEMPERATURE_32 : MOST_TEMPERATURE_64;
  return t < 1.0 / most ? 1.0 / most : (t > most ? most : t);
}

// Sums over a window: of weights; of weights times offset; and of weights times exponent.
struct WindowSums {
  Real shift, weight, z, y, x, exponent;
  bool strict;  // the window is on the map, and its centre tops all of its other pixels
};

FORMULA Real value_of(const Pixel* map, const Windows& w, Index d, Index i, Index j) {
  return (Real)map[(d * w.y.size + i) * w.x.size + j];
}

FORMULA WindowSums sum_window(const Pixel* map, const Windows& w, Index wz, Index wy, Index wx, double temperature) {
  WindowSums s = {(Real)-infinity(), 0, 0, 0, 0, 0, w.z.holds(wz) && w.y.holds(wy) && w.x.holds(wx)};
  const Index cd = w.z.centre(wz), ci = w.y.centre(wy), cj = w.x.centre(wx);
  const Pixel centre = s.strict ? map[(cd * w.y.size + ci) * w.x.size + cj] : Pixel();
  for (Index d = w.z.first(wz); d < w.z.last(wz); ++d)
    for (Index i = w.y.first(wy); i < w.y.last(wy); ++i)
      for (Index j = w.x.first(wx); j < w.x.last(wx); ++j) {
        const Pixel pixel = map[(d * w.y.size + i) * w.x.size + j];
        s.shift = raised(s.shift, (Real)pixel);
        s.strict = s.strict && (centre > pixel || (d == cd && i == ci && j == cj));
      }
  if (temperature != temperature) s.shift = (Real)not_a_number();
  const Real scale = (Real)(1.0 / temperature);
  for (Index d = w.z.first(wz); d < w.z.last(wz); ++d)
    for (Index i = w.y.first(wy); i < w.y.last(wy); ++i) {
      Real weight = 0, along = 0, exponents = 0;
      for (Index j = w.x.first(wx); j < w.x.last(wx); ++j) {
        const Real a = exponent(value_of(map, w, d, i, j), s.shift, scale);
        const Real e = s.shift == s.shift ? exponential(a) : s.shift;
        weight += e;
        along += e * w.x.offset(j, wx);
        exponents += e * a;
      }
      s.weight += weight;
      s.z += weight * w.z.offset(d, wz);
      s.y += weight * w.y.offset(i, wy);
      s.x += along;
      s.exponent += exponents;
    }
  return s;
}

struct Window {
  Index map, wz, wy, wx;
};

FORMULA Window window_of(Index k, const Windows& w) {
  return {k / w.x.count / w.y.count / w.z.count, k / w.x.count / w.y.count % w.z.count, k / w.x.count % w.y.count,
          k % w.x.count};
}

// Coordinates are (position - centre) * factor, in the order (z, x, y), or (x, y) if there are two axes.
KERNEL soft_argmax_windows(const Pixel* x, const double* temperatures, Index maps, Index depth, Index height,
                           Index width, Index kz, Index ky, Index kx, Index sz, Index sy, Index sx, Index pz, Index py,
                           Index px, Index nz, Index ny, Index nx, double centre_z, double factor_z, double centre_y,
                           double factor_y, double centre_x, double factor_x, double bonus, Index axes, Pixel* coords,
                           Pixel* values) {
  const Windows w = {{depth, kz, sz, pz, nz}, {height, ky, sy, py, ny}, {width, kx, sx, px, nx}};
  for (Index k = first_thread(); k < maps * w.count(); k += all_threads()) {
    const Window o = window_of(k, w);
    const double temperature = held_temperature(temperatures[o.map]);
    const WindowSums s = sum_window(x + o.map * w.pixels(), w, o.wz, o.wy, o.wx, temperature);
    const double inverse = 1.0 / (double)s.weight;
    Pixel* out = coords + o.map * axes * w.count() + k % w.count();
    if (axes == 3) out[0] = (Pixel)(factor_z * (w.z.middle(o.wz) - centre_z + (double)s.z * inverse));
    out[(axes - 2) * w.count()] = (Pixel)(factor_x * (w.x.middle(o.wx) - centre_x + (double)s.x * inverse));
    out[(axes - 1) * w.count()] = (Pixel)(factor_y * (w.y.middle(o.wy) - centre_y + (double)s.y * inverse));
    if (values) {
      const double value = (double)s.shift + temperature * ((double)s.exponent * inverse);
      values[k] = (Pixel)(s.strict ? value * (1 + bonus) : value);
    }
  }
}

// The adjoint. With weights w that sum to W over a window, offsets c and exponents a = (v - m) / T,
// the position is E[c] and the value E[v], where E[.] is the mean with weights w / W. For a pixel v
//
//     d E[c] / d v = w / W * (c - E[c]) / T
//     d E[v] / d v = w / W * ((v - E[v]) / T + 1),
//
// and both are homogeneous in (v - m, T), of degree 0 and 1, which gives the derivative by T.
// Each pixel gathers from the windows that cover it.

// The adjoint of a window, from which its pixels gather: its shift; the cotangents of its position and of its value
// times T, all divided by W; and minus the sum of their products with the means.
struct Pull {
  Real shift, level, z, y, x, value;
};

KERNEL soft_argmax_pulls(const Pixel* x, const double* temperatures, Index maps, Index depth, Index height,
                         Index width, Index kz, Index ky, Index kx, Index sz, Index sy, Index sx, Index pz, Index py,
                         Index px, Index nz, Index ny, Index nx, double factor_z, double factor_y, double factor_x,
                         double bonus, Index axes, const Pixel* by_coords, const Pixel* by_values, Real* pulls) {
  const Windows w = {{depth, kz, sz, pz, nz}, {height, ky, sy, py, ny}, {width, kx, sx, px, nx}};
  for (Index k = first_thread(); k < maps * w.count(); k += all_threads()) {
    const Window o = window_of(k, w);
    const double temperature = held_temperature(temperatures[o.map]);
    const WindowSums s = sum_window(x + o.map * w.pixels(), w, o.wz, o.wy, o.wx, temperature);
    const double inverse = 1.0 / (double)s.weight;
    double gz = 0, gy = 0, gx = 0, gv = 0;
    if (by_coords) {
      const Pixel* by = by_coords + o.map * axes * w.count() + k % w.count();
      gz = axes == 3 ? factor_z * (double)by[0] * inverse : 0;
      gx = factor_x * (double)by[(axes - 2) * w.count()] * inverse;
      gy = factor_y * (double)by[(axes - 1) * w.count()] * inverse;
    }
    if (by_values) gv = temperature * (s.strict ? 1 + bonus : 1) * (double)by_values[k] * inverse;
    Pull* out = reinterpret_cast<Pull*>(pulls) + k;
    out->shift = s.shift;
    out->level = (Real)(-inverse * (gz * s.z + gy * s.y + gx * s.x + gv * s.exponent));
    out->z = (Real)gz;
    out->y = (Real)gy;
    out->x = (Real)gx;
    out->value = (Real)gv;
  }
}

// Gradients with respect to pixels; and for each part of a map, that with respect to the temperature.
// A block has one part of a map.
KERNEL soft_argmax_gather(const Pixel* x, const double* temperatures, Index maps, Index depth, Index height,
                          Index width, Index kz, Index ky, Index kx, Index sz, Index sy, Index sx, Index pz, Index py,
                          Index px, Index nz, Index ny, Index nx, const Real* pulls, Index parts, Index part_size,
                          Pixel* grad, double* by_temperature) {
  const Windows w = {{depth, kz, sz, pz, nz}, {height, ky, sy, py, ny}, {width, kx, sx, px, nx}};
  for (Index part = blockIdx.x; part < maps * parts; part += gridDim.x) {
    const Index map = part / parts, begin = part % parts * part_size;
    const double temperature = held_temperature(temperatures[map]);
    const Real scale = (Real)(1.0 / temperature);
    const Pull* of_map = reinterpret_cast<const Pull*>(pulls) + map * w.count();
    double total[1] = {0};
    for (Index k = begin + threadIdx.x; k < least(begin + part_size, w.pixels()); k += blockDim.x) {
      const Index j = k % width, i = k / width % height, d = k / width / height;
      const Real v = (Real)x[map * w.pixels() + k];
      Real sum = 0;
      for (Index wz = w.z.from(d); wz < w.z.to(d); ++wz)
        for (Index wy = w.y.from(i); wy < w.y.to(i); ++wy)
          for (Index wx = w.x.from(j); wx < w.x.to(j); ++wx) {
            const Pull p = of_map[(wz * w.y.count + wy) * w.x.count + wx];
            const Real a = exponent(v, p.shift, scale), e = p.shift == p.shift ? exponential(a) : p.shift;
            const Real slope = e * (p.level + w.z.offset(d, wz) * p.z + w.y.offset(i, wy) * p.y +
                                    w.x.offset(j, wx) * p.x + a * p.value);
            sum += scale * (slope + e * p.value);
            total[0] += (double)(slope * a);
          }
      grad[map * w.pixels() + k] = (Pixel)sum;
    }
    sum_over_block(total);
    if (threadIdx.x == 0) by_temperature[part] = -total[0] / temperature;
  }
}
