// Fits of spots together with their neighbours, by Gaussians along the axes of images and volumes.
#include "fitting_definitions.cuh"
#include "formulas.cuh"
#include "linear.cuh"
#include "misfits.cuh"
#include "fit_images.cuh"
#include "fit_starts.cuh"
#include "fit_steps.cuh"
#include "fit_misfits.cuh"
#include "fit_errors.cuh"
#include "fit_solver.cuh"
#include "joint.cuh"
#include "crowd.cuh"
#include "coupling.cuh"
#include "crowds.cuh"
#include "gaussian.cuh"

KERNEL crowd_gaussian2d_free(CROWD_ARGUMENTS) { CROWD(Gaussian<2, FREE, false>); }
KERNEL crowd_gaussian2d_free_plane(CROWD_ARGUMENTS) { CROWD(Gaussian<2, FREE, true>); }
KERNEL crowd_gaussian2d_fixed(CROWD_ARGUMENTS) { CROWD(Gaussian<2, FIXED, false>); }
KERNEL crowd_gaussian2d_fixed_plane(CROWD_ARGUMENTS) { CROWD(Gaussian<2, FIXED, true>); }
KERNEL crowd_gaussian2d_elliptical(CROWD_ARGUMENTS) { CROWD(Gaussian<2, ELLIPTICAL, false>); }
KERNEL crowd_gaussian2d_elliptical_plane(CROWD_ARGUMENTS) { CROWD(Gaussian<2, ELLIPTICAL, true>); }
KERNEL crowd_gaussian3d_free(CROWD_ARGUMENTS) { CROWD(Gaussian<3, FREE, false>); }
KERNEL crowd_gaussian3d_free_plane(CROWD_ARGUMENTS) { CROWD(Gaussian<3, FREE, true>); }
KERNEL crowd_gaussian3d_fixed(CROWD_ARGUMENTS) { CROWD(Gaussian<3, FIXED, false>); }
KERNEL crowd_gaussian3d_fixed_plane(CROWD_ARGUMENTS) { CROWD(Gaussian<3, FIXED, true>); }
KERNEL crowd_gaussian3d_elliptical(CROWD_ARGUMENTS) { CROWD(Gaussian<3, ELLIPTICAL, false>); }
KERNEL crowd_gaussian3d_elliptical_plane(CROWD_ARGUMENTS) { CROWD(Gaussian<3, ELLIPTICAL, true>); }
KERNEL crowd_gaussian2d_astigmatic(CROWD_ARGUMENTS) { CROWD(Gaussian<2, ASTIGMATIC, false>); }
KERNEL crowd_gaussian2d_astigmatic_plane(CROWD_ARGUMENTS) { CROWD(Gaussian<2, ASTIGMATIC, true>); }
