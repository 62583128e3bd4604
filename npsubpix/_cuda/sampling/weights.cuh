// Weights of the pixels around a position, and their first and second derivatives: `w[0]`, `w[1]` and
// `w[2]`, of which there are ORDERS. A method weights COUNT pixels per axis, the first of them
// (COUNT - 1) / 2 before the base pixel, by functions of the distance t from the base pixel. For an odd
// number of pixels the base is the nearest pixel, for an even number the pixel before.

FORMULA double nearest_of(double c) { return floor(c + 0.5); }

// B-splines, by the recursion from degree to degree; u is the distance from the knot before.
template <int DEGREE, int ORDERS>
FORMULA void weigh_bspline(Real u, Real (&w)[ORDERS][DEGREE + 1]) {
  Real n[DEGREE + 1] = {1};
#pragma unroll
  for (int r = 1; r <= DEGREE; ++r) {
    if constexpr (ORDERS > 2)
      if (r == DEGREE - 1)
        for (int k = 0; k <= DEGREE; ++k)
          w[2][k] = (k > 1 ? n[k - 2] : 0) - 2 * (k > 0 && k <= r ? n[k - 1] : 0) + (k < r ? n[k] : 0);
    if constexpr (ORDERS > 1)
      if (r == DEGREE)
        for (int k = 0; k <= DEGREE; ++k) w[1][k] = (k > 0 ? n[k - 1] : 0) - (k < r ? n[k] : 0);
    Real kept = 0;
    for (int k = 0; k < r; ++k) {
      const Real part = n[k] * (Real)(1.0 / r);
      n[k] = kept + ((Real)(k + 1) - u) * part;
      kept = (u + (Real)(r - 1 - k)) * part;
    }
    n[r] = kept;
  }
  for (int k = 0; k <= DEGREE; ++k) w[0][k] = n[k];
}

// Keys' kernel with the slope a at distance 1, by the distance d from the pixel before, and its mirror.
template <int ORDERS>
FORMULA void weigh_cubic(Real a, Real t, Real (&w)[ORDERS][4]) {
#pragma unroll
  for (int side = 0; side < 2; ++side) {
    const Real d = side ? 1 - t : t, e = 1 - d, sign = side ? -1 : 1;
    const int far = side ? 3 : 0, near = side ? 2 : 1;
    w[0][far] = a * d * e * e;
    w[0][near] = 1 - d * d * (a + 3 - (a + 2) * d);
    if constexpr (ORDERS > 1) {
      w[1][far] = sign * a * e * (1 - 3 * d);
      w[1][near] = sign * d * (3 * (a + 2) * d - 2 * (a + 3));
    }
    if constexpr (ORDERS > 2) {
      w[2][far] = a * (6 * d - 4);
      w[2][near] = 6 * (a + 2) * d - 2 * (a + 3);
    }
  }
}

// A weight and its derivatives.
struct Jet {
  double f, slope, curvature;
};

template <int COUNT>
FORMULA Jet sum_of(const Jet (&raw)[COUNT], int pixels) {
  Jet s = {0, 0, 0};
  for (int k = 0; k < pixels; ++k) s = {s.f + raw[k].f, s.slope + raw[k].slope, s.curvature + raw[k].curvature};
  return s;
}

// Weights of the first so many pixels divided by their sum, which has derivatives too.
template <int COUNT, int ORDERS>
FORMULA void weigh_normalized(const Jet (&raw)[COUNT], int pixels, Real (&w)[ORDERS][COUNT]) {
  const Jet s = sum_of(raw, pixels);
#pragma unroll
  for (int k = 0; k < pixels; ++k) {
    const double f = raw[k].f / s.f, slope = (raw[k].slope - f * s.slope) / s.f;
    w[0][k] = (Real)f;
    if constexpr (ORDERS > 1) w[1][k] = (Real)slope;
    if constexpr (ORDERS > 2) w[2][k] = (Real)((raw[k].curvature - 2 * slope * s.slope - f * s.curvature) / s.f);
  }
}

#define PI 3.14159265358979323846

// sinc(u) sinc(u / 3) for u = t + 2 - k, and its derivatives.
__device__ __noinline__ Jet sinc_product(int k, double t) {
  const double u = t + (2 - k), v = u * u;
  if (v < 1e-4) {  // series: the quotient would lose digits
    const double b = -5 * PI * PI / 27, c = 14 * PI * PI * PI * PI / 1215, d = -17 * PI * PI * PI * PI * PI * PI / 45927;
    return {1 + v * (b + v * (c + v * d)), u * (2 * b + v * (4 * c + v * 6 * d)), 2 * b + v * (12 * c + v * 30 * d)};
  }
  const double sign = (k % 2 ? -3 : 3) / (PI * PI), p = sign * sin(PI * t), dp = sign * PI * cos(PI * t);
  const double q = sin(PI / 3 * u), dq = PI / 3 * cos(PI / 3 * u), f = p * q / v, df = (dp * q + p * dq - 2 * f * u) / v;
  return {f, df, (2 * dp * dq - 10 * PI * PI / 9 * p * q - 4 * df * u - 2 * f) / v};
}

// Functions of the distance, 0 at 1.
__device__ __noinline__ Jet sigmoid(double distance) {
  const double f = 1 / (1 + exp(SIGMOID_STEEPNESS * (distance - 0.5))), slope = -SIGMOID_STEEPNESS * f * (1 - f);
  return {f - 1 / (1 + exp(SIGMOID_STEEPNESS / 2)), slope, -SIGMOID_STEEPNESS * slope * (1 - 2 * f)};
}

__device__ __noinline__ Jet bell(double distance) {
  const double u = distance / GAUSSIAN_WIDTH, f = exp(-0.5 * u * u);
  const double least = exp(-0.5 / (GAUSSIAN_WIDTH * GAUSSIAN_WIDTH));
  return {f - least, -u / GAUSSIAN_WIDTH * f, (u * u - 1) / (GAUSSIAN_WIDTH * GAUSSIAN_WIDTH) * f};
}

template <int ORDERS>
FORMULA void weigh_linear(Real t, Real (&w)[ORDERS][2]) {
  w[0][0] = 1 - t, w[0][1] = t;
  if constexpr (ORDERS > 1) w[1][0] = -1, w[1][1] = 1;
  if constexpr (ORDERS > 2) w[2][0] = w[2][1] = 0;
}

template <int ORDERS>
FORMULA void weigh_smoothstep(Real t, Real (&w)[ORDERS][2]) {
  w[0][1] = t * t * (3 - 2 * t), w[0][0] = 1 - w[0][1];
  if constexpr (ORDERS > 1) w[1][1] = 6 * t * (1 - t), w[1][0] = -w[1][1];
  if constexpr (ORDERS > 2) w[2][1] = 6 - 12 * t, w[2][0] = -w[2][1];
}

template <int ORDERS>
FORMULA void weigh_two(Index method, Real t, Real (&w)[ORDERS][2]) {
  if (method == METHOD_LINEAR) return weigh_linear<ORDERS>(t, w);
  if (method == METHOD_SMOOTHSTEP) return weigh_smoothstep<ORDERS>(t, w);
  Jet raw[2];
#pragma unroll 1
  for (int k = 0; k < 2; ++k) {
    const double d = k ? 1 - (double)t : (double)t;
    raw[k] = method == METHOD_SIGMOID ? sigmoid(d) : bell(d);
  }
  raw[1].slope = -raw[1].slope;
  weigh_normalized<2, ORDERS>(raw, 2, w);
}

template <int ORDERS>
FORMULA void weigh_four(Index method, Real t, Real (&w)[ORDERS][4]) {
  if (method == METHOD_BSPLINE3) return weigh_bspline<3, ORDERS>(t, w);
  weigh_cubic<ORDERS>(method == METHOD_CATMULL_ROM ? (Real)CATMULL_ROM_SLOPE : (Real)BICUBIC_SLOPE, t, w);
}

template <int ORDERS>
FORMULA void weigh_six(Index method, Real t, Real (&w)[ORDERS][6]) {
  if (method == METHOD_BSPLINE5) return weigh_bspline<5, ORDERS>(t, w);
  Jet raw[6];
#pragma unroll 1
  for (int k = 0; k < 6; ++k) raw[k] = sinc_product(k, (double)t);
  weigh_normalized<6, ORDERS>(raw, 6, w);
}

// Copies weights of fewer pixels to an array of six.
template <int COUNT>
FORMULA void copy_weights(const Real (&from)[3][COUNT], Real (&to)[3][6]) {
  for (int order = 0; order < 3; ++order)
    for (int k = 0; k < COUNT; ++k) to[order][k] = from[order][k];
}

// Weights of any method and all their derivatives: one function for all kernels.
__device__ __noinline__ void weigh_any(Index method, Real t, int pixels, Real (&w)[3][6]) {
  Real two[3][2], three[3][3], four[3][4], five[3][5];
  if (pixels == 1) {
    for (int order = 0; order < 3; ++order) w[order][0] = order == 0;
  } else if (pixels == 2) {
    weigh_two<3>(method, t, two);
    copy_weights(two, w);
  } else if (pixels == 3) {
    weigh_bspline<2, 3>(t + (Real)0.5, three);
    copy_weights(three, w);
  } else if (pixels == 4) {
    weigh_four<3>(method, t, four);
    copy_weights(four, w);
  } else if (pixels == 5) {
    weigh_bspline<4, 3>(t + (Real)0.5, five);
    copy_weights(five, w);
  } else {
    weigh_six<3>(method, t, w);
  }
}

// A method, and what its weights depend on: samples of a function of the distance, and the pixels on each side of a
// position that have weight.
struct Weighing {
  Index method;
  const Real* table;
  Index samples, reach;
};

// The first of the two samples of a table around a distance, the distance from it, and the derivative of that, in units
// of their spacing. Where a distance is that of a sample, these are the samples on the side to which it grows.
struct Segment {
  Index first;
  double fraction, scale;
};

FORMULA Segment segment_of(const Weighing& o, double distance, bool grows) {
  const double scale = (double)(o.samples - 1) / (double)o.reach, place = distance * scale;
  Index first = (Index)place;
  if (!grows && (double)first == place) --first;
  first = least(greatest(first, (Index)0), o.samples - 2);
  return {first, place - (double)first, scale};
}

// The distance of pixel k of a window from its position, and whether it grows with this.
struct Apart {
  double distance;
  bool is_before, grows;
};

FORMULA Apart apart_from(const Weighing& o, int k, double t) {
  const int whole = (int)o.reach - 1 - k;
  const bool is_before = whole >= 0;
  return {is_before ? whole + t : -whole - t, is_before, is_before == (t < 1)};
}

FORMULA Jet named_weight(Index method, double u) {
  if (method == METHOD_LINEAR) return {1 - u, -1, 0};
  if (method == METHOD_SMOOTHSTEP) return {1 - u * u * (3 - 2 * u), -6 * u * (1 - u), 12 * u - 6};
  return method == METHOD_SIGMOID ? sigmoid(u) : bell(u);
}

// The weight of pixel k before it is divided, and its derivatives with respect to the position.
__device__ __noinline__ Jet raw_weight(const Weighing& o, int k, double t) {
  const Apart apart = apart_from(o, k, t);
  Jet jet;
  if (o.method == METHOD_TABLE) {
    const Segment at = segment_of(o, apart.distance, apart.grows);
    const double a = (double)o.table[at.first], b = (double)o.table[at.first + 1];
    jet = {(1 - at.fraction) * a + at.fraction * b, at.scale * (b - a), 0};
  } else {
    const double width = (double)o.reach;
    jet = named_weight(o.method, apart.distance / width);
    jet = {jet.f, jet.slope / width, jet.curvature / (width * width)};
  }
  if (!apart.is_before) jet.slope = -jet.slope;
  return jet;
}

// Windows of methods: their most pixels per axis, those of a method, and whether loops over them are unrolled.

struct TwoPixels {
  static constexpr int COUNT = 2;
  static constexpr bool UNROLLED = true;
  static __device__ __forceinline__ int count(const Weighing&) { return 2; }
  static __device__ __forceinline__ double base(double c, const Weighing&) { return floor(c); }
  template <int ORDERS>
  static __device__ __forceinline__ void weigh(const Weighing&, Real t, Real (&w)[ORDERS][2]) {
    weigh_linear<ORDERS>(t, w);
  }
};

struct FourPixels {
  static constexpr int COUNT = 4;
  static constexpr bool UNROLLED = true;
  static __device__ __forceinline__ int count(const Weighing&) { return 4; }
  static __device__ __forceinline__ double base(double c, const Weighing&) { return floor(c); }
  template <int ORDERS>
  static __device__ __forceinline__ void weigh(const Weighing& o, Real t, Real (&w)[ORDERS][4]) {
    weigh_four<ORDERS>(o.method, t, w);
  }
};

// Windows of any method, in less code than kernels for each.
struct AnyPixels {
  static constexpr int COUNT = 6;
  static constexpr bool UNROLLED = false;
  // The last octal digit of a method's number.
  static __device__ __forceinline__ int count(const Weighing& o) { return (int)(o.method & 7); }
  static __device__ __forceinline__ double base(double c, const Weighing& o) {
    if (o.method == METHOD_NEAREST_DOWN) return ceil(c - 0.5);
    if (o.method == METHOD_NEAREST_EVEN) return rint(c);
    return count(o) % 2 ? nearest_of(c) : floor(c);
  }
  template <int ORDERS>
  static __device__ __forceinline__ void weigh(const Weighing& o, Real t, Real (&w)[ORDERS][6]) {
    Real all[3][6];
    weigh_any(o.method, t, count(o), all);
    for (int order = 0; order < ORDERS; ++order)
      for (int k = 0; k < 6; ++k) w[order][k] = all[order][k];
  }
};

// Windows of methods whose weights are functions of the distance, of any reach.
struct WidePixels {
  static constexpr int COUNT = 2 * MOST_REACH;
  static constexpr bool UNROLLED = false;
  static __device__ __forceinline__ int count(const Weighing& o) { return 2 * (int)o.reach; }
  static __device__ __forceinline__ double base(double c, const Weighing&) { return floor(c); }
  static __device__ __forceinline__ void weigh_raw(const Weighing& o, Real t, Jet (&raw)[COUNT]) {
#pragma unroll 1
    for (int k = 0; k < count(o); ++k) raw[k] = raw_weight(o, k, (double)t);
  }
  template <int ORDERS>
  static __device__ __forceinline__ void weigh(const Weighing& o, Real t, Real (&w)[ORDERS][COUNT]) {
    Jet raw[COUNT];
    weigh_raw(o, t, raw);
    weigh_normalized<COUNT, ORDERS>(raw, count(o), w);
  }
};
