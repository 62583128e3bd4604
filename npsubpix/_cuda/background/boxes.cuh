// Boxes of nearly one length that an axis is cut into.

// The first pixel of a box, which is one after the last of the previous box; as `box_ends` for the host.
FORMULA Index begin_of_box(Index box, Index pixels, Index boxes) { return (2 * box * pixels + boxes) / (2 * boxes); }

// The middle of a box, between two pixels if it has an even number of them.
FORMULA double centre_of_box(Index box, Index pixels, Index boxes) {
  return (double)(begin_of_box(box, pixels, boxes) + begin_of_box(box + 1, pixels, boxes) - 1) / 2;
}
