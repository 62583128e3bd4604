// Gradients in the middle of cells between pixels, averaged over 3 x 3 (x 3) cells.

// The weight of a pixel across the direction of a derivative: two of a cell, averaged over three cells.
FORMULA double across(Index k) { return k == 0 || k == 3 ? 1.0 / 6.0 : 1.0 / 3.0; }

// Derivatives along rows and columns in the middle of the 4 x 4 pixels of which one is the first.
FORMULA void gradient2d(const Volume& v, Index d, Index i, Index j, double& gi, double& gj) {
  gi = gj = 0;
  for (Index k = 0; k < 4; ++k) {
    gi += across(k) * (v.at(d, i + 3, j + k) - v.at(d, i, j + k));
    gj += across(k) * (v.at(d, i + k, j + 3) - v.at(d, i + k, j));
  }
  gi /= 3.0, gj /= 3.0;
}

FORMULA void gradient3d(const Volume& v, Index d, Index i, Index j, double& gd, double& gi, double& gj) {
  gd = gi = gj = 0;
  for (Index k = 0; k < 4; ++k) {
    double row_i, row_j;
    gradient2d(v, d + k, i, j, row_i, row_j);
    gi += across(k) * row_i;
    gj += across(k) * row_j;
    for (Index m = 0; m < 4; ++m)
      gd += across(k) * across(m) * (v.at(d + 3, i + k, j + m) - v.at(d, i + k, j + m));
  }
  gd /= 3.0;
}
