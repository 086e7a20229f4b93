# The kernels, found at run time.
kerneldir = $(pkgdatadir)/cl
dist_kernel_DATA =
dist_kernel_DATA += cl/dtype.cl
dist_kernel_DATA += cl/math.cl
dist_kernel_DATA += cl/gemm_epilogue.cl cl/gemm_pack.cl cl/gemm_plain.cl cl/gemm_tile.cl cl/gemm_wide.cl cl/gemm_wide_tile.cl cl/gemv.cl \
  cl/gemv_group.cl
dist_kernel_DATA += cl/probe.cl
dist_kernel_DATA += cl/exp.cl cl/reduce.cl cl/reduce_ops.cl
