// What becomes of a pixel: bits, none for nothing. Of a pixel that is both a maximum and a minimum, as there are no
// others in its window or all of them are masked, come two candidates.
#define MAXIMUM 1
#define MINIMUM 2
#define PLATEAU 4

FORMULA Index rows_of(UInt8 code) { return (code & MAXIMUM) + (code & MINIMUM) / MINIMUM; }

FORMULA UInt8 without(UInt8 code, bool minimum) {
  const UInt8 rest = (UInt8)(code & ~(minimum ? MINIMUM : MAXIMUM));
  return rest & (MAXIMUM | MINIMUM) ? rest : 0;
}
