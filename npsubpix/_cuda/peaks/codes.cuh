// Codes of pixels: bits, 0 for no candidate. A pixel that is both a maximum and a minimum, since its window has no
// other pixels or all of them are masked, gives two candidates.
#define MAXIMUM 1
#define MINIMUM 2
#define PLATEAU 4

FORMULA Index rows_of(UInt8 code) { return (code & MAXIMUM) + (code & MINIMUM) / MINIMUM; }

FORMULA UInt8 without(UInt8 code, bool minimum) {
  const UInt8 left = (UInt8)(code & ~(minimum ? MINIMUM : MAXIMUM));
  return left & (MAXIMUM | MINIMUM) ? left : 0;
}

// The first of ascending numbers from `begin` to `end` that is not below `wanted`.
FORMULA Index first_at_least(const Index* numbers, Index begin, Index end, Index wanted) {
  while (begin < end) {
    const Index middle = (begin + end) / 2;
    if (numbers[middle] < wanted)
      begin = middle + 1;
    else
      end = middle;
  }
  return begin;
}
