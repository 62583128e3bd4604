// Fits of spots together with their neighbours, by models of images: rotated Gaussians, Moffat functions and
// measured ones.
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
#include "pixelwise.cuh"
#include "rotated.cuh"
#include "moffat.cuh"
#include "psf.cuh"

KERNEL crowd_gaussian2d_rotated(CROWD_ARGUMENTS) { CROWD(Pixelwise<Rotated, false>); }
KERNEL crowd_gaussian2d_rotated_plane(CROWD_ARGUMENTS) { CROWD(Pixelwise<Rotated, true>); }
KERNEL crowd_moffat2d_free(CROWD_ARGUMENTS) { CROWD(Pixelwise<Moffat<true, true>, false>); }
KERNEL crowd_moffat2d_free_plane(CROWD_ARGUMENTS) { CROWD(Pixelwise<Moffat<true, true>, true>); }
KERNEL crowd_moffat2d_fixed(CROWD_ARGUMENTS) { CROWD(Pixelwise<Moffat<false, true>, false>); }
KERNEL crowd_moffat2d_fixed_plane(CROWD_ARGUMENTS) { CROWD(Pixelwise<Moffat<false, true>, true>); }
KERNEL crowd_moffat_beta2d_free(CROWD_ARGUMENTS) { CROWD(Pixelwise<Moffat<true, false>, false>); }
KERNEL crowd_moffat_beta2d_free_plane(CROWD_ARGUMENTS) { CROWD(Pixelwise<Moffat<true, false>, true>); }
KERNEL crowd_moffat_beta2d_fixed(CROWD_ARGUMENTS) { CROWD(Pixelwise<Moffat<false, false>, false>); }
KERNEL crowd_moffat_beta2d_fixed_plane(CROWD_ARGUMENTS) { CROWD(Pixelwise<Moffat<false, false>, true>); }
KERNEL crowd_psf2d_fixed(CROWD_ARGUMENTS) { CROWD(Pixelwise<MeasuredPsf<2>, false>); }
KERNEL crowd_psf2d_fixed_plane(CROWD_ARGUMENTS) { CROWD(Pixelwise<MeasuredPsf<2>, true>); }
KERNEL crowd_psf3d_fixed(CROWD_ARGUMENTS) { CROWD(Pixelwise<MeasuredPsf<3>, false>); }
KERNEL crowd_psf3d_fixed_plane(CROWD_ARGUMENTS) { CROWD(Pixelwise<MeasuredPsf<3>, true>); }
