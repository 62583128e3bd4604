// Non-maximum suppression: strict maxima of windows.
#include "formulas.cuh"
#include "near.cuh"

// Windows of three pixels per axis, over stacks of images, whose depth is 1, or of volumes.

KERNEL nms_near_mask(const Pixel* x, bool* out, Index images, Index depth, Index height, Index width, bool volume) {
  for (Index k = first_thread(); k < count_strips(images, depth, height, width); k += all_threads())
    visit_strip(x, strip_of(k, depth, height, width), depth, height, width, volume, false,
                [=](Index place, Index, bool maximum) { out[place] = maximum; });
}

KERNEL nms_near_values(const Pixel* x, Pixel* out, Index images, Index depth, Index height, Index width, bool volume) {
  for (Index k = first_thread(); k < count_strips(images, depth, height, width); k += all_threads())
    visit_strip(x, strip_of(k, depth, height, width), depth, height, width, volume, false,
                [=](Index place, Index, bool maximum) { out[place] = maximum ? x[place] : Pixel(); });
}

KERNEL nms_near_minmax(const Pixel* x, bool* maxima, bool* minima, Index images, Index depth, Index height,
                       Index width) {
  for (Index k = first_thread(); k < count_strips(images, depth, height, width); k += all_threads()) {
    const Strip strip = strip_of(k, depth, height, width);
    visit_strip(x, strip, depth, height, width, true, false,
                [=](Index place, Index, bool maximum) { maxima[place] = maximum; });
    visit_strip(x, strip, depth, height, width, true, true,
                [=](Index place, Index, bool minimum) { minima[place] = minimum; });
  }
}

// Windows of any size.

// Offset of the n-th pixel of an axis of a window from the centre, from near to far: 0, 1, -1, 2, ...
// A window of even size extends one pixel further ahead than back.
FORMULA Index outward(Index n) { return n % 2 ? (n + 1) / 2 : -(n / 2); }

FORMULA bool fits(Index k, Index window, Index size) { return k >= (window - 1) / 2 && k + window / 2 < size; }

// Whether a pixel is greater than all others of its window. Near ones come first, so that most searches are short.
FORMULA bool tops_window(const Pixel* x, Index height, Index width, Index kd, Index ki, Index kj) {
  const Key centre = Ordered::key(*x);
  if (!Ordered::is_number(centre)) return false;
  for (Index d = 0; d < kd; ++d)
    for (Index i = 0; i < ki; ++i) {
      const Pixel* row = x + (outward(d) * height + outward(i)) * width;
      for (Index j = d || i ? 0 : 1; j < kj; ++j)
        if (!(centre > Ordered::key(row[outward(j)]))) return false;
    }
  return true;
}

template <typename Write>
FORMULA void visit_windows(const Pixel* x, Index images, Index depth, Index height, Index width, Index kd, Index ki,
                           Index kj, Write write) {
  for (Index k = first_thread(); k < images * depth * height * width; k += all_threads()) {
    const Index j = k % width, i = k / width % height, d = k / width / height % depth;
    const bool inside = fits(d, kd, depth) && fits(i, ki, height) && fits(j, kj, width);
    write(k, inside && tops_window(x + k, height, width, kd, ki, kj));
  }
}

KERNEL nms_window_mask(const Pixel* x, bool* out, Index images, Index depth, Index height, Index width, Index kd,
                       Index ki, Index kj) {
  visit_windows(x, images, depth, height, width, kd, ki, kj, [=](Index k, bool maximum) { out[k] = maximum; });
}

KERNEL nms_window_values(const Pixel* x, Pixel* out, Index images, Index depth, Index height, Index width, Index kd,
                         Index ki, Index kj) {
  visit_windows(x, images, depth, height, width, kd, ki, kj,
                [=](Index k, bool maximum) { out[k] = maximum ? x[k] : Pixel(); });
}

// Copy the pixels of a mask, and write 0 elsewhere, even for NaN.
KERNEL nms_keep(const bool* mask, const Pixel* x, Pixel* out, Index count) {
  for (Index k = first_thread(); k < count; k += all_threads()) out[k] = mask[k] ? x[k] : Pixel();
}
