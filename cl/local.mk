# The kernels, found at run time.
kerneldir = $(pkgdatadir)/cl
dist_kernel_DATA =
dist_kernel_DATA += cl/dtype.cl
dist_kernel_DATA += cl/math.cl
dist_kernel_DATA += cl/gemm_epilogue.cl
dist_kernel_DATA += cl/gemm_pack.cl
dist_kernel_DATA += cl/gemm_plain.cl
dist_kernel_DATA += cl/gemm_tile.cl
dist_kernel_DATA += cl/gemm_wide.cl
dist_kernel_DATA += cl/gemm_wide_tile.cl
dist_kernel_DATA += cl/gemv.cl
dist_kernel_DATA += cl/gemv_group.cl
dist_kernel_DATA += cl/probe.cl
dist_kernel_DATA += cl/exp.cl
dist_kernel_DATA += cl/reduce.cl
dist_kernel_DATA += cl/reduce_ops.cl
