// Dense quadratic refinement of 3-D maxima, and its adjoint.
#include "formulas.cuh"
#include "near.cuh"
#include "quadratic.cuh"

FORMULA Volume volume_of(const Pixel* x, Index image, Index depth, Index height, Index width) {
  return {x + image * depth * height * width, depth, height, width};
}

// Write the position and value of the grid for a voxel, or those of a maximum that can be refined.
FORMULA void write_voxel(const Volume& v, Index image, Index d, Index i, Index j, bool maximum, Index n_iters,
                         double bonus, double threshold, Index radius, bool depth_steps, Result* coords, Result* y) {
  const Index plane = v.height * v.width, voxels = v.depth * plane, k = d * plane + i * v.width + j;
  Result* at = coords + image * 3 * voxels + k;
  Result scale = (Result)d, column = (Result)j, row = (Result)i, value = (Result)v.x[k];
  if (maximum) {
    const Walk w = follow<Quadratic3d>(v, d, i, j, n_iters, threshold, SHIFT_LIMIT, radius, depth_steps);
    if (!(w.fit.flags & FLAGS_REJECTED)) {
      scale = (Result)((double)w.d + w.fit.sd);
      column = (Result)((double)w.j + w.fit.sj);
      row = (Result)((double)w.i + w.fit.si);
      value = (Result)(v.at(w.d, w.i, w.j) + w.fit.gain + bonus);
    }
  }
  at[0] = scale;
  at[voxels] = column;
  at[2 * voxels] = row;
  y[image * voxels + k] = value;
}

// Find the strict 3 x 3 x 3 maxima, refine them and fill the grid, in one pass.
KERNEL quad_interp3d_all(const Pixel* x, Index images, Index depth, Index height, Index width, Index n_iters,
                         double bonus, double threshold, Index radius, bool depth_steps, Result* coords, Result* y) {
  for (Index k = first_thread(); k < count_strips(images, depth, height, width); k += all_threads()) {
    const Strip s = strip_of(k, depth, height, width);
    const Volume v = volume_of(x, s.image, depth, height, width);
    visit_strip(x, s, depth, height, width, true, false, [=](Index, Index i, bool maximum) {
      write_voxel(v, s.image, s.d, i, s.j, maximum, n_iters, bonus, threshold, radius, depth_steps, coords, y);
    });
  }
}

// Refine the voxels of a mask, and fill the grid.
KERNEL quad_interp3d_masked(const Pixel* x, const bool* mask, Index images, Index depth, Index height, Index width,
                            Index n_iters, double bonus, double threshold, Index radius, bool depth_steps,
                            Result* coords, Result* y) {
  for (Index k = first_thread(); k < images * depth * height * width; k += all_threads()) {
    const Index j = k % width, i = k / width % height, d = k / width / height % depth;
    const Index image = k / width / height / depth;
    const Volume v = volume_of(x, image, depth, height, width);
    write_voxel(v, image, d, i, j, mask[k], n_iters, bonus, threshold, radius, depth_steps, coords, y);
  }
}

// The strongest voxels of the mask of each image; of equal ones the first in memory order.

// A number that is greater for a greater pixel; a NaN is the weakest, with minus infinity.
FORMULA UInt64 strength(Pixel pixel) {
  const Key key = Ordered::key(pixel);
  const UInt64 sign = (Key)-1 < (Key)0 ? 1ull << 63 : 0;
  return Ordered::is_number(key) ? (UInt64)key ^ sign : (UInt64)Ordered::mirrored(Ordered::infinity()) ^ sign;
}

// One block per image. The strength of the weakest voxel that is kept is found eight bits at a time: the
// counts of each value of those bits determine its own, and how many are left to find.
KERNEL quad_interp3d_strongest(const Pixel* x, const bool* mask, bool* kept, Index voxels, Index images,
                                     Index max_candidates) {
  __shared__ UInt64 counts[256];
  __shared__ UInt64 weakest;
  __shared__ Index wanted, ties;
  __shared__ bool tied[THREADS];
  for (Index image = blockIdx.x; image < images; image += gridDim.x) {
    const Index first = image * voxels;
    if (threadIdx.x == 0) weakest = 0, wanted = max_candidates;
    for (int shift = 56; shift >= 0; shift -= 8) {
      for (int n = threadIdx.x; n < 256; n += blockDim.x) counts[n] = 0;
      __syncthreads();
      for (Index k = threadIdx.x; k < voxels; k += blockDim.x) {
        const UInt64 s = mask[first + k] ? strength(x[first + k]) : 0;
        if (mask[first + k] && (shift == 56 || (s ^ weakest) >> (shift + 8) == 0))
          atomicAdd(&counts[s >> shift & 255], (UInt64)1);
      }
      __syncthreads();
      if (threadIdx.x == 0) {
        int n = 255;
        for (; n > 0 && counts[n] < (UInt64)wanted; --n) wanted -= (Index)counts[n];
        weakest |= (UInt64)n << shift;
      }
      __syncthreads();
    }
    for (Index begin = 0; begin < voxels; begin += blockDim.x) {
      const Index k = begin + threadIdx.x;
      const bool masked = k < voxels && mask[first + k];
      const UInt64 s = masked ? strength(x[first + k]) : 0;
      if (threadIdx.x == 0) ties = 0;
      __syncthreads();
      tied[threadIdx.x] = masked && s == weakest;
      if (tied[threadIdx.x]) atomicAdd((UInt64*)&ties, (UInt64)1);
      __syncthreads();
      if (threadIdx.x == 0 && ties > 0)
        for (unsigned n = 0; n < blockDim.x; ++n) tied[n] = tied[n] && wanted-- > 0;
      __syncthreads();
      if (k < voxels) kept[first + k] = masked && (s > weakest || tied[threadIdx.x]);
      __syncthreads();
    }
  }
}

// The adjoint. With the gradient g and the Hessian H of the fit, the shift is s = -inv(H) g and the
// value is v = c + g.s / 2. Let p and q be the cotangents of s and v, and t = inv(H) p. Then those of
// g and H are q s - t and q s s' / 2 - (t s' + s t') / 2, and that of c is q. Each is distributed over
// the voxels of its central difference, with the weights of that difference.
//
// Each voxel gathers from the fits around it, in a fixed order. The fits of a voxel are those of the
// maxima whose walk ended there: a list that begins in `head` and continues in `next`, which has
// IS_CONSTANT for a voxel that was not refined.
#define NONE (-1)
#define IS_CONSTANT (-2)

KERNEL quad_interp3d_link(const Pixel* x, const bool* mask, Index images, Index depth, Index height, Index width,
                          Index n_iters, double threshold, Index radius, bool depth_steps, Index* head, Index* next) {
  const Index voxels = depth * height * width;
  for (Index k = first_thread(); k < images * voxels; k += all_threads()) {
    next[k] = IS_CONSTANT;
    if (!mask[k]) continue;
    const Index j = k % width, i = k / width % height, d = k / width / height % depth, image = k / voxels;
    const Volume v = volume_of(x, image, depth, height, width);
    const Walk w = follow<Quadratic3d>(v, d, i, j, n_iters, threshold, SHIFT_LIMIT, radius, depth_steps);
    if (w.fit.flags & FLAGS_REJECTED) continue;
    Index* place = head + image * voxels + (w.d * height + w.i) * width + w.j;
    next[k] = (Index)atomicExch((UInt64*)place, (UInt64)k);
  }
}

// The entry of a list that follows `after`, in memory order.
FORMULA Index following(Index from, Index after, const Index* next) {
  Index found = NONE;
  for (Index k = from; k != NONE; k = next[k])
    if (k > after && (found == NONE || k < found)) found = k;
  return found;
}

struct Cotangents {
  double x, y, z, value;
};

// Sum the cotangents of all fits at one voxel.
FORMULA Cotangents cotangents_of(Index from, const Index* next, const Result* coords_cotangent,
                                 const Result* values_cotangent, Index voxels) {
  Cotangents sum = {0, 0, 0, 0};
  for (Index k = following(from, NONE, next); k != NONE; k = following(from, k, next)) {
    const Index at = k / voxels * 3 * voxels + k % voxels;
    if (coords_cotangent) {
      sum.z += (double)coords_cotangent[at];
      sum.x += (double)coords_cotangent[at + voxels];
      sum.y += (double)coords_cotangent[at + 2 * voxels];
    }
    if (values_cotangent) sum.value += (double)values_cotangent[k];
  }
  return sum;
}

// The cotangent that the fit at a voxel gives the voxel at an offset of (dz, dy, dx).
FORMULA double quadratic3d_vjp(const Volume& v, Index d, Index i, Index j, Cotangents cotangents, int dz, int dy,
                               int dx) {
  const Fit f = fit_quadratic3d(v, d, i, j);
  const Scaled3 h = scaled3d(hessian3d(v, d, i, j));
  const Gradient3 t = solved3d(h.unit, h.det, cotangents.x, cotangents.y, cotangents.z);
  const double q = cotangents.value;
  // Times the scale last: it is huge where responses are tiny, and infinity times 0 is no number.
  const double xx = 0.5 * q * f.sj * f.sj - h.scale * (t.x * f.sj);
  const double yy = 0.5 * q * f.si * f.si - h.scale * (t.y * f.si);
  const double zz = 0.5 * q * f.sd * f.sd - h.scale * (t.z * f.sd);
  switch (dz * dz + dy * dy + dx * dx) {
    case 0:
      return q - 2.0 * (xx + yy + zz);
    case 1:
      if (dx) return xx + 0.5 * dx * (q * f.sj - h.scale * t.x);
      if (dy) return yy + 0.5 * dy * (q * f.si - h.scale * t.y);
      return zz + 0.5 * dz * (q * f.sd - h.scale * t.z);
    default:  // both entries of the Hessian that one difference gives
      if (!dz) return 0.25 * dy * dx * (q * f.sj * f.si - h.scale * (t.x * f.si + t.y * f.sj));
      if (!dy) return 0.25 * dz * dx * (q * f.sj * f.sd - h.scale * (t.x * f.sd + t.z * f.sj));
      return 0.25 * dz * dy * (q * f.si * f.sd - h.scale * (t.y * f.sd + t.z * f.si));
  }
}

KERNEL quad_interp3d_gather(const Pixel* x, const Index* head, const Index* next, Index images, Index depth,
                            Index height, Index width, const Result* coords_cotangent,
                            const Result* values_cotangent, Result* grad) {
  const Index voxels = depth * height * width;
  for (Index k = first_thread(); k < images * voxels; k += all_threads()) {
    const Index j = k % width, i = k / width % height, d = k / width / height % depth, image = k / voxels;
    const Volume v = volume_of(x, image, depth, height, width);
    double sum = values_cotangent && next[k] == IS_CONSTANT ? (double)values_cotangent[k] : 0.0;
    for (int dz = -1; dz <= 1; ++dz)
      for (int dy = -1; dy <= 1; ++dy)
        for (int dx = -1; dx <= 1; ++dx) {
          // The voxel whose fit used this one, at an offset of (dz, dy, dx) from it.
          const Index fd = d - dz, fi = i - dy, fj = j - dx;
          if ((dz && dy && dx) || !v.has_around(fd, fi, fj)) continue;
          const Index from = head[image * voxels + (fd * height + fi) * width + fj];
          if (from == NONE) continue;
          const Cotangents cotangents = cotangents_of(from, next, coords_cotangent, values_cotangent, voxels);
          sum += quadratic3d_vjp(v, fd, fi, fj, cotangents, dz, dy, dx);
        }
    grad[k] = (Result)sum;
  }
}
