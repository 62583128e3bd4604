// The area that a disc and a pixel have in common.

// The integral of the upper half of a circle about 0, from 0 to x.
FORMULA double under_arc(double x, double radius) {
  const double square = radius * radius;
  return 0.5 * (x * sqrt(fmax(square - x * x, 0.0)) + square * asin(fmin(x / radius, 1.0)));
}

// The area of a disc about 0 in a rectangle that lies in its first quadrant.
FORMULA double share_of_quadrant(double bottom, double top, double left, double right, double radius) {
  const double square = radius * radius;
  if (left * left + bottom * bottom >= square) return 0.0;
  if (right * right + top * top <= square) return (right - left) * (top - bottom);
  const double end = fmin(right, sqrt(square - bottom * bottom));  // where the circle leaves the rectangle
  // Up to here the whole height is inside
  const double full = fmin(fmax(sqrt(fmax(square - top * top, 0.0)), left), end);
  const double arc = under_arc(end, radius) - under_arc(full, radius) - bottom * (end - full);
  return (full - left) * (top - bottom) + arc;
}

// The area of the disc about 0 in the pixel whose centre is (y, x): the share of the pixel in it.
FORMULA double disc_share(double y, double x, double radius) {
  const double far_y = fabs(y) + 0.5, far_x = fabs(x) + 0.5, near_y = fabs(y) - 0.5, near_x = fabs(x) - 0.5;
  const double low_y = fmax(near_y, 0.0), low_x = fmax(near_x, 0.0);
  if (far_y * far_y + far_x * far_x <= radius * radius) return 1.0;
  if (low_y * low_y + low_x * low_x >= radius * radius) return 0.0;
  // A pixel across an axis of the disc has parts on both sides
  double area = share_of_quadrant(low_y, far_y, low_x, far_x, radius);
  if (near_y < 0) area += share_of_quadrant(0.0, -near_y, low_x, far_x, radius);
  if (near_x < 0) area += share_of_quadrant(low_y, far_y, 0.0, -near_x, radius);
  if (near_y < 0 && near_x < 0) area += share_of_quadrant(0.0, -near_y, 0.0, -near_x, radius);
  return area;
}
