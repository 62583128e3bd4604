// What softmax over windows and over maps share. Weights are exp((v - shift) / T), with the greatest
// value of the window or of the map as the shift. NaN makes all of them NaN. Pixels of +inf share all
// weight, and so do those of -inf if there is nothing else.

// A pixel this far below the shift, in exponents, has the weight 0, and times that it is 0.
#define LEAST_EXPONENT (-1000)

FORMULA float exponential(float a) { return expf(a); }
FORMULA double exponential(double a) { return exp(a); }

template <typename T>
FORMULA T exponent(T v, T shift, T scale) {
  if (v == shift) return 0;  // also for infinity less infinity
  const T a = (v - shift) * scale;
  return a < (T)LEAST_EXPONENT ? (T)LEAST_EXPONENT : a;
}

// Temperatures on a GPU are not looked at before a kernel does; a wrong one makes NaN of its map.
FORMULA double checked_temperature(double t) { return t > 0 && isfinite(t) ? t : not_a_number(); }
