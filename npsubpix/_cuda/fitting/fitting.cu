// Fits of spots by Gaussians along the axes of images and volumes.
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
#include "gaussian.cuh"

KERNEL fit_gaussian2d_free(ARGUMENTS) { FIT(Gaussian<2, FREE, false>); }
KERNEL fit_gaussian2d_free_plane(ARGUMENTS) { FIT(Gaussian<2, FREE, true>); }
KERNEL fit_gaussian2d_fixed(ARGUMENTS) { FIT(Gaussian<2, FIXED, false>); }
KERNEL fit_gaussian2d_fixed_plane(ARGUMENTS) { FIT(Gaussian<2, FIXED, true>); }
KERNEL fit_gaussian2d_elliptical(ARGUMENTS) { FIT(Gaussian<2, ELLIPTICAL, false>); }
KERNEL fit_gaussian2d_elliptical_plane(ARGUMENTS) { FIT(Gaussian<2, ELLIPTICAL, true>); }
KERNEL fit_gaussian3d_free(ARGUMENTS) { FIT(Gaussian<3, FREE, false>); }
KERNEL fit_gaussian3d_free_plane(ARGUMENTS) { FIT(Gaussian<3, FREE, true>); }
KERNEL fit_gaussian3d_fixed(ARGUMENTS) { FIT(Gaussian<3, FIXED, false>); }
KERNEL fit_gaussian3d_fixed_plane(ARGUMENTS) { FIT(Gaussian<3, FIXED, true>); }
KERNEL fit_gaussian3d_elliptical(ARGUMENTS) { FIT(Gaussian<3, ELLIPTICAL, false>); }
KERNEL fit_gaussian3d_elliptical_plane(ARGUMENTS) { FIT(Gaussian<3, ELLIPTICAL, true>); }
KERNEL fit_gaussian2d_astigmatic(ARGUMENTS) { FIT(Gaussian<2, ASTIGMATIC, false>); }
KERNEL fit_gaussian2d_astigmatic_plane(ARGUMENTS) { FIT(Gaussian<2, ASTIGMATIC, true>); }
