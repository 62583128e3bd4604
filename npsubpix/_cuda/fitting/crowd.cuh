// Spots that are fitted together with their neighbours.

#define BEGIN 0
#define SWEEP 1
#define LEAP 2
#define FINISH 3
#define COUPLE 4

// Whether a spot takes a step: no, if neighbours have moved much, or in any case.
#define RESTS 0
#define LOOKS 1
#define MOVES 2

// State of a spot: damping, the last Newton decrement, least background, scale of the flux, degrees of freedom, and the
// variance of its residuals.
struct State {
  double damping, before, least, scale, degrees, variance;
};

// Spots that have neighbours: `rows` are those of the table. Those of spot k begin at `offsets[k]`.
struct Crowd {
  Index count;
  const Index *rows, *offsets, *neighbours, *colours;
  Index margins[3], wide[3], size, wide_size;
  double *light, *others, *seen, *parameters, *histories, *covariances, *weights, *signals, *transfers, *shared,
      *strengths;
  State* states;
  int* moves;
};

FORMULA Box box_of(const Index* frames, const Index* pixels, const Index* box, Index row, int axes) {
  Box b = {{0, 0, 0}, {box[0], box[1], box[2]}, frames[row], nullptr};
  for (int a = 0; a < axes; ++a) b.first[3 - axes + a] = pixels[row * axes + a] - (box[3 - axes + a] - 1) / 2;
  return b;
}

// Call a function of each pixel of a box that another spot reaches: of its place in the box, and in what it reaches.
template <typename Visit>
FORMULA void each_shared(const Crowd& c, const Box& own, const Box& other, Visit visit) {
  Index shift[3];
  for (int a = 0; a < 3; ++a) shift[a] = own.first[a] - other.first[a] + c.margins[a];
  for (Index d = greatest((Index)0, -shift[0]); d < least(own.length[0], c.wide[0] - shift[0]); ++d)
    for (Index j = greatest((Index)0, -shift[1]); j < least(own.length[1], c.wide[1] - shift[1]); ++j)
      for (Index i = greatest((Index)0, -shift[2]); i < least(own.length[2], c.wide[2] - shift[2]); ++i)
        visit(d, j, i, ((d + shift[0]) * c.wide[1] + j + shift[1]) * c.wide[2] + i + shift[2]);
}
