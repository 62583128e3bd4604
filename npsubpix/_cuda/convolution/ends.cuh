// Border extensions of an axis.
#define NOTHING 0
#define NEAREST 1
#define WRAP 2
#define MIRROR 3
#define REFLECT 4

// The pixel of an axis of n pixels that a place is a copy of, -1 for none.
FORMULA Index folded(Index place, Index n, Index border) {
  if (place >= 0 && place < n) return place;
  if (border == NOTHING) return -1;
  if (border == NEAREST || n == 1) return within(place, 0, n - 1);
  return repeated(place, n, border == WRAP ? n : (border == MIRROR ? 2 * n - 2 : 2 * n));
}
