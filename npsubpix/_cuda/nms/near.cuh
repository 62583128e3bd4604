// Strict extrema of windows of three pixels per axis.
// A thread moves down a few rows of one column and keeps three rows in registers, so that each pixel
// is read from memory once; its neighbours in the row are in the first-level cache.
typedef Order<Pixel> Ordered;
typedef Ordered::Key Key;

// Greatest keys of three columns of a row: of all pixels, and of all but the centre. In a volume,
// both include the rows at the same place in the planes before and after.
struct Row {
  Key all, around, centre;
};

FORMULA Key highest3(const Pixel* row, Index left, Index j, Index right, bool mirror) {
  const Key a = Ordered::key(row[left]), b = Ordered::key(row[j]), c = Ordered::key(row[right]);
  if (mirror) return greatest(greatest(Ordered::mirrored(a), Ordered::mirrored(b)), Ordered::mirrored(c));
  return greatest(greatest(a, b), c);
}

// `plane` is the number of pixels to the next plane, 0 for an image.
FORMULA Row row_of(const Pixel* row, Index left, Index j, Index right, Index plane, bool mirror) {
  Row r;
  const Key a = Ordered::key(row[left]), b = Ordered::key(row[j]), c = Ordered::key(row[right]);
  r.centre = mirror ? Ordered::mirrored(b) : b;
  r.around = mirror ? greatest(Ordered::mirrored(a), Ordered::mirrored(c)) : greatest(a, c);
  if (plane) {
    r.around = greatest(r.around, highest3(row - plane, left, j, right, mirror));
    r.around = greatest(r.around, highest3(row + plane, left, j, right, mirror));
  }
  r.all = greatest(r.around, r.centre);
  return r;
}

FORMULA bool tops(Row above, Row here, Row below) {
  const Key others = greatest(greatest(above.all, below.all), here.around);
  return Ordered::is_number(here.centre) && here.centre > others;
}

// The strips of rows of a stack of maps; strips of neighbouring planes are consecutive, as they share
// pixels.
struct Strip {
  Index image, d, top, j;
};

FORMULA Index count_strips(Index images, Index depth, Index height, Index width) {
  return images * ((height + STRIP_ROWS - 1) / STRIP_ROWS) * depth * width;
}

FORMULA Strip strip_of(Index k, Index depth, Index height, Index width) {
  Strip s;
  s.j = k % width;
  k /= width;
  s.d = k % depth;
  k /= depth;
  s.top = k % ((height + STRIP_ROWS - 1) / STRIP_ROWS) * STRIP_ROWS;
  s.image = k / ((height + STRIP_ROWS - 1) / STRIP_ROWS);
  return s;
}

// Call visit(place, i, is_extremum) for each pixel of a strip, with its place in the stack.
template <typename Visit>
FORMULA void visit_strip(const Pixel* x, Strip s, Index depth, Index height, Index width, bool volume, bool mirror,
                         Visit visit) {
  const Index plane = volume ? height * width : 0;
  const bool inner = s.j > 0 && s.j < width - 1 && (!volume || (s.d > 0 && s.d < depth - 1));
  const Index first = (s.image * depth + s.d) * height * width;
  const Index left = greatest(s.j - 1, (Index)0), right = least(s.j + 1, width - 1);
  const Index end = least(s.top + STRIP_ROWS, height);
  if (!inner) {
    for (Index i = s.top; i < end; ++i) visit(first + i * width + s.j, i, false);
    return;
  }
  const Pixel* map = x + first;
  Row above = row_of(map + greatest(s.top - 1, (Index)0) * width, left, s.j, right, plane, mirror);
  Row here = row_of(map + s.top * width, left, s.j, right, plane, mirror);
  for (Index i = s.top; i < end; ++i) {
    const Row below = row_of(map + least(i + 1, height - 1) * width, left, s.j, right, plane, mirror);
    visit(first + i * width + s.j, i, i > 0 && i < height - 1 && tops(above, here, below));
    above = here;
    here = below;
  }
}
