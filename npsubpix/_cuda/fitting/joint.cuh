// The unit of an error.

// Return the standard error of a parameter of a fit alone, 1 if it has none.
FORMULA double scale_of(const double* covariance, int a, int count) {
  const double variance = covariance[a * count + a];
  return variance > 0.0 ? sqrt(variance) : 1.0;
}

// Spots, their neighbours, and how their errors depend on each other: see `_definitions/crowds.py`.
struct Links {
  const Index *offsets, *neighbours;
  const double *transfers, *shared, *strengths, *covariances;
  int count, kept, kinds;

  // The place of a neighbour among those of a spot; -1 if it is none, or is not coupled.
  __device__ __forceinline__ Index edge(Index n, Index m) const {
    for (Index e = offsets[n]; e < offsets[n + 1]; ++e)
      if (neighbours[e] == m) return strengths[e] > 0.0 ? e : -1;
    return -1;
  }
  __device__ __forceinline__ const double* inverse(Index n, int kind) const {
    return covariances + (2 * n + kind) * count * count;
  }
  __device__ __forceinline__ double transfer(Index e, int a, int b) const {
    return transfers[(e * count + a) * kept + b];
  }
  // The covariance of errors of fits alone, in units of standard errors.
  __device__ __forceinline__ double covariance(Index n, Index m, int kind, int a, int b) const {
    if (n == m)
      return inverse(n, kind)[a * count + b] / (scale_of(inverse(n, 0), a, count) * scale_of(inverse(n, 0), b, count));
    const Index e = edge(n, m);
    return e < 0 ? 0.0 : shared[((e * kinds + kind) * count + a) * count + b];
  }
};

// Write the neighbours of a spot, and theirs, the most strongly coupled first; return how many there are. The spot
// itself is the last.
ROUTINE int gather(Index (&spots)[FIT_JOINT_SPOTS], const Links& l, Index n) {
  int size = 1;
  spots[0] = n;
  for (int hop = 0; hop < 2; ++hop) {
    const int first = hop, end = hop ? size : 1;
    while (size < FIT_JOINT_SPOTS) {
      double best = FIT_JOINT_COUPLING;
      Index found = -1;
      for (int s = first; s < end; ++s)
        for (Index e = l.offsets[spots[s]]; e < l.offsets[spots[s] + 1]; ++e) {
          const Index m = l.neighbours[e];
          if (!(l.strengths[e] > 0.0)) continue;
          const Index back = l.edge(m, spots[s]);
          const double strength = back < 0 ? 0.0 : l.strengths[e] * l.strengths[back];
          if (!(strength > best)) continue;
          bool known = false;
          for (int k = 0; k < size; ++k) known = known || spots[k] == m;
          if (!known) best = strength, found = m;
        }
      if (found < 0) break;
      spots[size++] = found;
    }
  }
  spots[0] = spots[size - 1];
  spots[size - 1] = n;
  return size;
}

// Solve matrix times x = each of some rows, in place; return whether the last `own` unknowns are determined. Unknowns
// that are not, of other spots, are 0.
ROUTINE bool solve_rows(double* matrix, double* right, int stride, int size, int rows, int own) {
  bool determined = true;
  for (int k = 0; k < size; ++k) {
    int pivot = k;
    for (int r = k + 1; r < size; ++r)
      if (fabs(matrix[r * stride + k]) > fabs(matrix[pivot * stride + k])) pivot = r;
    for (int b = 0; pivot != k && b < size; ++b) {
      const double kept = matrix[k * stride + b];
      matrix[k * stride + b] = matrix[pivot * stride + b];
      matrix[pivot * stride + b] = kept;
    }
    for (int a = 0; pivot != k && a < rows; ++a) {
      const double kept = right[a * stride + k];
      right[a * stride + k] = right[a * stride + pivot];
      right[a * stride + pivot] = kept;
    }
    double& diagonal = matrix[k * stride + k];
    if (!(fabs(diagonal) > FIT_JOINT_PIVOT)) {
      determined = determined && k < size - own;
      diagonal = infinity();
    }
    for (int r = k + 1; r < size; ++r) {
      const double ratio = matrix[r * stride + k] / diagonal;
      if (ratio == 0.0) continue;
      for (int b = k + 1; b < size; ++b) matrix[r * stride + b] -= ratio * matrix[k * stride + b];
      for (int a = 0; a < rows; ++a) right[a * stride + r] -= ratio * right[a * stride + k];
    }
  }
  for (int a = 0; a < rows; ++a)
    for (int k = size - 1; k >= 0; --k) {
      double total = right[a * stride + k];
      for (int b = k + 1; b < size; ++b) total -= matrix[k * stride + b] * right[a * stride + b];
      right[a * stride + k] = total / matrix[k * stride + k];
    }
  return determined;
}

// Write the joint covariance of the parameters of a spot; return whether it is determined. `scratch` has the matrix of
// the neighbourhood, the solutions, and their products with errors.
ROUTINE bool joint_covariance(double* joint, double* scratch, const Links& l, Index n) {
  Index spots[FIT_JOINT_SPOTS];
  const int many = gather(spots, l, n), kept = l.kept, count = l.count, size = kept * many;
  const int stride = FIT_JOINT_SPOTS * kept;
  double *system = scratch, *solution = system + stride * stride, *product = solution + count * stride;
  for (int s = 0; s < many; ++s)
    for (int t = 0; t < many; ++t) {
      const Index e = s == t ? -1 : l.edge(spots[s], spots[t]);
      for (int a = 0; a < kept; ++a)
        for (int b = 0; b < kept; ++b)
          system[(kept * t + b) * stride + kept * s + a] =
              e >= 0 ? l.transfer(e, a, b) : s == t && a == b ? 1.0 : 0.0;
    }
  for (int a = 0; a < count; ++a)
    for (int s = 0; s < many; ++s) {
      const Index e = spots[s] == n ? -1 : l.edge(n, spots[s]);
      for (int b = 0; b < kept; ++b)
        solution[a * stride + kept * s + b] = a < kept ? (spots[s] == n && a == b ? 1.0 : 0.0)
                                              : e >= 0 ? -l.transfer(e, a, b)
                                                       : 0.0;
    }
  const bool determined = solve_rows(system, solution, stride, size, count, kept);
  for (int kind = 0; kind < l.kinds; ++kind) {
    for (int a = 0; a < count; ++a)
      for (int t = 0; t < size; ++t) {
        double total = 0.0;
        for (int s = 0; s < many; ++s)
          for (int k = 0; k < kept; ++k)
            total += solution[a * stride + kept * s + k] * l.covariance(spots[s], spots[t / kept], kind, k, t % kept);
        product[a * stride + t] = total;
      }
    for (int a = 0; a < count; ++a)
      for (int b = 0; b < count; ++b) {
        double total = a >= kept && b >= kept ? l.covariance(n, n, kind, a, b) : 0.0;
        for (int t = 0; t < size; ++t) {
          total += product[a * stride + t] * solution[b * stride + t];
          const Index other = spots[t / kept];  // and the error of a background of its own
          if (a >= kept) total += solution[b * stride + t] * l.covariance(n, other, kind, a, t % kept);
          if (b >= kept) total += solution[a * stride + t] * l.covariance(n, other, kind, b, t % kept);
        }
        joint[(kind * count + a) * count + b] =
            total * scale_of(l.inverse(n, 0), a, count) * scale_of(l.inverse(n, 0), b, count);
      }
  }
  return determined;
}
