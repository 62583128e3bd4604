// Formulas shared by softmax over windows and over maps. Weights are exp((v - shift) / T), with the greatest
// value of the window or of the map as the shift. NaN makes all of them NaN. Pixels of +inf share all
// weight, and so do those of -inf if there is nothing else.

FORMULA float exponential(float a) { return expf(a); }
FORMULA double exponential(double a) { return exp(a); }

template <typename T>
FORMULA T exponent(T v, T shift, T scale) {
  if (v == shift) return 0;  // also for infinity less infinity
  const T a = (v - shift) * scale;
  return a < (T)(LEAST_EXPONENT) ? (T)(LEAST_EXPONENT) : a;
}

// Temperatures on a GPU are checked by kernels alone: one that is not positive and finite makes its map NaN.
FORMULA double checked_temperature(double t) { return t > 0 && isfinite(t) ? t : not_a_number(); }
