// Fits of spots by models of images: rotated Gaussians, Moffat functions and measured ones.
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
#include "pixelwise.cuh"
#include "rotated.cuh"
#include "moffat.cuh"
#include "psf.cuh"

KERNEL fit_gaussian2d_rotated(ARGUMENTS) { FIT(Pixelwise<Rotated, false>); }
KERNEL fit_gaussian2d_rotated_plane(ARGUMENTS) { FIT(Pixelwise<Rotated, true>); }
KERNEL fit_moffat2d_free(ARGUMENTS) { FIT(Pixelwise<Moffat<true, true>, false>); }
KERNEL fit_moffat2d_free_plane(ARGUMENTS) { FIT(Pixelwise<Moffat<true, true>, true>); }
KERNEL fit_moffat2d_fixed(ARGUMENTS) { FIT(Pixelwise<Moffat<false, true>, false>); }
KERNEL fit_moffat2d_fixed_plane(ARGUMENTS) { FIT(Pixelwise<Moffat<false, true>, true>); }
KERNEL fit_moffat_beta2d_free(ARGUMENTS) { FIT(Pixelwise<Moffat<true, false>, false>); }
KERNEL fit_moffat_beta2d_free_plane(ARGUMENTS) { FIT(Pixelwise<Moffat<true, false>, true>); }
KERNEL fit_moffat_beta2d_fixed(ARGUMENTS) { FIT(Pixelwise<Moffat<false, false>, false>); }
KERNEL fit_moffat_beta2d_fixed_plane(ARGUMENTS) { FIT(Pixelwise<Moffat<false, false>, true>); }
KERNEL fit_psf2d_fixed(ARGUMENTS) { FIT(Pixelwise<MeasuredPsf<2>, false>); }
KERNEL fit_psf2d_fixed_plane(ARGUMENTS) { FIT(Pixelwise<MeasuredPsf<2>, true>); }
KERNEL fit_psf3d_fixed(ARGUMENTS) { FIT(Pixelwise<MeasuredPsf<3>, false>); }
KERNEL fit_psf3d_fixed_plane(ARGUMENTS) { FIT(Pixelwise<MeasuredPsf<3>, true>); }
