# The kernels, found at run time.
kerneldir = $(pkgdatadir)/cl
dist_kernel_DATA =
dist_kernel_DATA += cl/dtype.cl
dist_kernel_DATA += cl/math.cl
