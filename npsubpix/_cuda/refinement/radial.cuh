// Centres of radial symmetry: the point that is nearest to the lines along the gradients of a box (R. Parthasarathy,
// Nature Methods 9, 724, 2012). One block per start: its threads share the cells between pixels.

// The shift from a position to the point nearest to all lines. Distances are measured in units of `spread`.
FORMULA Fit nearest_point(const Volume& v, Place window, Place h, const double (&spread)[3], const Located& at,
                          const bool (&still)[3]) {
  const bool volume = h.d > 0;
  const Box cells = {{volume ? greatest(window.d - h.d, (Index)1) : window.d, greatest(window.i - h.i, (Index)1),
                      greatest(window.j - h.j, (Index)1)},
                     {volume ? least(window.d + h.d, v.depth - 2) : window.d + 1,
                      least(window.i + h.i, v.height - 2), least(window.j + h.j, v.width - 2)}};
  const bool any = cells.low.d < cells.high.d && cells.low.i < cells.high.i && cells.low.j < cells.high.j;
  const double nearest = 0.5 / fmax(fmax(spread[0], spread[1]), spread[2]);
  const double between = volume ? 0.5 : 0.0;
  double s[9] = {0};  // of dd, ii, jj, di, dj, ij, and of the right side
  for (Index k = threadIdx.x; any && k < cells.pixels(); k += blockDim.x) {
    const Place q = cells.at(k);
    const double ud = volume ? ((double)q.d + between - at.d) / spread[0] : 0.0,
                 ui = ((double)q.i + 0.5 - at.i) / spread[1], uj = ((double)q.j + 0.5 - at.j) / spread[2];
    double gd = 0, gi, gj;
    if (volume)
      gradient3d(v, q.d - 1, q.i - 1, q.j - 1, gd, gi, gj);
    else
      gradient2d(v, q.d, q.i - 1, q.j - 1, gi, gj);
    gd *= spread[0], gi *= spread[1], gj *= spread[2];
    const double w = 1.0 / sqrt(fmax(ud * ud + ui * ui + uj * uj, nearest * nearest));
    const double square = gd * gd + gi * gi + gj * gj, along = gd * ud + gi * ui + gj * uj;
    s[0] += w * (square - gd * gd), s[1] += w * (square - gi * gi), s[2] += w * (square - gj * gj);
    s[3] -= w * gd * gi, s[4] -= w * gd * gj, s[5] -= w * gi * gj;
    s[6] += w * (square * ud - along * gd), s[7] += w * (square * ui - along * gi);
    s[8] += w * (square * uj - along * gj);
  }
  sum_over_block(s);
  const double size = fmax(fmax(s[0], s[1]), s[2]);
  if (still[0]) s[0] = size, s[3] = s[4] = s[6] = 0.0;
  if (still[1]) s[1] = size, s[3] = s[5] = s[7] = 0.0;
  if (still[2]) s[2] = size, s[4] = s[5] = s[8] = 0.0;
  const Scaled3 m = scaled3d({s[2], s[1], s[0], s[5], s[4], s[3]});
  if (!isfinite(m.det)) return {0, 0, 0, 0, FLAG_NONFINITE};
  if (fabs(m.det) <= SINGULAR_TOLERANCE * m.largest * m.largest * m.largest) return {0, 0, 0, 0, FLAG_SINGULAR};
  const Gradient3 to = solved3d(m.unit, m.det, m.scale * s[8], m.scale * s[7], m.scale * s[6]);
  return {to.z * spread[0], to.y * spread[1], to.x * spread[2], 0, 0};
}

// The pixel around which the box is, along an axis: it stays while the position is not far from it.
FORMULA Index followed(Index window, double position) {
  return fabs(position - (double)window) > MOVE_THRESHOLD ? (Index)rint(position) : window;
}

// The border cuts the box. An axis along which the start lies at the border stays as it is.
FORMULA Located radial(const Task& t, const Volume& v, Place start, Index n_iters, double max_shift, Place h,
                       const double (&spread)[3]) {
  Located to = stay(v, start, 0);
  const auto rejected = [&](int flags) {
    to.flags = flags;
    return to;
  };
  const bool volume = h.d > 0;
  const bool still[3] = {!volume || start.d == 0 || start.d == t.depth - 1, start.i == 0 || start.i == t.height - 1,
                         start.j == 0 || start.j == t.width - 1};
  if (still[0] && still[1] && still[2]) return rejected(FLAG_AT_BORDER);
  const int fixed = (volume && still[0] ? FLAG_FIXED_Z : 0) | (still[1] ? FLAG_FIXED_Y : 0) |
                    (still[2] ? FLAG_FIXED_X : 0);
  Place window = start;
  for (Index n = 0; n < n_iters; ++n) {
    const Fit f = nearest_point(v, window, h, spread, to, still);
    if (f.flags) return rejected(f.flags);
    if (!is_finite(f)) return rejected(FLAG_NONFINITE);
    to.d += f.sd, to.i += f.si, to.j += f.sj;
    if (furthest(to, start) > max_shift) return rejected(FLAG_TOO_FAR);
    const Place next = {followed(window.d, to.d), followed(window.i, to.i), followed(window.j, to.j)};
    if (!is_inside(t, next)) return rejected(FLAG_AT_BORDER);
    const bool moved = next.d != window.d || next.i != window.i || next.j != window.j;
    window = next;
    if (!moved && longest_shift(f) <= CENTROID_TOLERANCE) {
      const Place end = {(Index)rint(to.d), (Index)rint(to.i), (Index)rint(to.j)};
      if (!is_inside(t, end)) return rejected(FLAG_AT_BORDER);
      const bool other = end.d != start.d || end.i != start.i || end.j != start.j;
      return {to.d, to.i, to.j, v.at(end.d, end.i, end.j), fixed | (other ? FLAG_MOVED : 0), window};
    }
  }
  return rejected(FLAG_NOT_CONVERGED);
}

KERNEL refine_radial(ARGUMENTS) {
  TASK;
  const Place half = {half_z, half_y, half_x};
  const double spread[3] = {spread_z, spread_y, spread_x};
  refine_by_blocks(t, extent, max_shift, coords, values, flags, centres,
                   [&](const Volume& v, Place p) { return radial(t, v, p, n_iters, max_shift, half, spread); });
}
