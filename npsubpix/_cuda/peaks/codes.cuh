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
