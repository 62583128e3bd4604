// Which spots reach each other's boxes, the order in which they are fitted, and the errors of fits together.
#include "formulas.cuh"
#include "joint.cuh"

// Write the neighbours of a spot among spots sorted by their pixels, unless `out` is null; return how many there are.
FORMULA Index visit_neighbours(Index* out, const Index* keys, Index count, Index n, Index reach_0, Index reach_1,
                               Index reach_2, Index depth, Index height, Index width) {
  const Index key = keys[n], i = key % width, j = key / width % height, d = key / (width * height) % depth;
  const Index low_i = greatest(-reach_2, -i), high_i = least(reach_2, width - 1 - i);
  Index found = 0;
  for (Index dd = greatest(-reach_0, -d); dd <= least(reach_0, depth - 1 - d); ++dd)
    for (Index jj = greatest(-reach_1, -j); jj <= least(reach_1, height - 1 - j); ++jj) {
      const Index here = key + (dd * height + jj) * width;
      Index low = 0, high = count;
      while (low < high) {
        const Index middle = (low + high) / 2;
        if (keys[middle] < here + low_i) low = middle + 1;
        else high = middle;
      }
      for (; low < count && keys[low] <= here + high_i; ++low) {
        if (low == n) continue;
        if (out) out[found] = low;
        ++found;
      }
    }
  return found;
}

KERNEL crowd_count_neighbours(const Index* keys, Index count, Index reach_0, Index reach_1, Index reach_2, Index depth,
                              Index height, Index width, Index* counts) {
  for (Index n = first_thread(); n < count; n += all_threads())
    counts[n] = visit_neighbours(nullptr, keys, count, n, reach_0, reach_1, reach_2, depth, height, width);
}

KERNEL crowd_find_neighbours(const Index* keys, Index count, Index reach_0, Index reach_1, Index reach_2, Index depth,
                             Index height, Index width, const Index* offsets, Index* neighbours) {
  for (Index n = first_thread(); n < count; n += all_threads())
    visit_neighbours(neighbours + offsets[n], keys, count, n, reach_0, reach_1, reach_2, depth, height, width);
}

// Give spots whose neighbours of greater priority have a colour the least that none of these has; count the others.
KERNEL crowd_colour_spots(const Index* offsets, const Index* neighbours, const UInt64* priorities, Index count,
                          Index* colours, Index* left) {
  for (Index n = first_thread(); n < count; n += all_threads()) {
    if (colours[n] >= 0) continue;
    bool ready = true;
    for (Index e = offsets[n]; e < offsets[n + 1]; ++e)
      ready = ready && (priorities[neighbours[e]] < priorities[n] || colours[neighbours[e]] >= 0);
    if (!ready) {
      atomicAdd((UInt64*)left, (UInt64)1);
      continue;
    }
    Index colour = 0;
    for (Index e = offsets[n]; e < offsets[n + 1];) {
      const Index other = neighbours[e];
      if (priorities[other] > priorities[n] && colours[other] == colour) ++colour, e = offsets[n];
      else ++e;
    }
    colours[n] = colour;
  }
}

// Decide which spots take part in the next sweep: those that moved, and their neighbours; count them.
KERNEL crowd_settle(const Index* rows, const Index* offsets, const Index* neighbours, Index count, const int* flags,
                    int* moves, Index* active) {
  for (Index n = first_thread(); n < count; n += all_threads()) {
    int next = moves[count + n];
    for (Index e = offsets[n]; e < offsets[n + 1]; ++e)
      if (moves[count + neighbours[e]] > next) next = 1;
    if (flags[rows[n]] & FITFLAGS_REJECTED) next = 0;
    moves[n] = next;
    if (next) atomicAdd((UInt64*)active, (UInt64)1);
  }
}

// Replace the variances of spots that know their neighbours by those of fits together; flag spots without.
KERNEL crowd_joint_errors(const Index* rows_of, const Index* offsets, const Index* neighbours, const double* transfers,
                          const double* shared, const double* strengths, const double* covariances, Index parameters,
                          Index kept, Index kinds, Index count, double* scratch, Index need, Index columns, double* rows,
                          double* moments, double* matrices, bool covariance, const double* places, Index axes,
                          int* flags) {
  const Links links = {offsets, neighbours, transfers, shared, strengths, covariances, (int)parameters, (int)kept,
                       (int)kinds};
  for (Index n = first_thread(); n < count; n += all_threads()) {
    const Index row = rows_of[n];
    if (flags[row] & FITFLAGS_REJECTED) continue;
    double *joint = scratch + first_thread() * need, *variances = rows + row * columns + parameters;
    bool determined = joint_covariance(joint, joint + 2 * parameters * parameters, links, n);
    for (Index a = 0; a < parameters; ++a) {
      const double variance = joint[a * parameters + a];
      determined = determined && variance >= 0.0 && variance < infinity();
    }
    if (!determined) {  // the row of a fit that does not count
      flags[row] = (flags[row] & ~(FITFLAG_POOR_FIT | FITFLAG_AT_BOUND)) | FITFLAG_SINGULAR;
      for (Index a = 0; a < columns; ++a) rows[row * columns + a] = a < axes ? places[row * axes + a] : not_a_number();
      for (Index a = 0; kinds > 1 && a < 8 + parameters; ++a) moments[row * (8 + parameters) + a] = 0.0;
      for (Index a = 0; covariance && a < 2 * parameters * parameters; ++a)
        matrices[row * 2 * parameters * parameters + a] = not_a_number();
    }
    for (Index a = 0; a < parameters && determined; ++a) {
      if (variances[a] == variances[a]) variances[a] = joint[a * parameters + a];
      if (kinds > 1) moments[row * (8 + parameters) + 8 + a] = joint[(parameters + a) * parameters + a];
      for (Index b = 0; covariance && b < parameters; ++b)
        for (Index kind = 0; kind < kinds; ++kind) {
          double* out = matrices + ((row * 2 + kind) * parameters + a) * parameters + b;
          if (*out == *out) *out = joint[(kind * parameters + a) * parameters + b];
        }
    }
  }
}
