# The public headers.
include_HEADERS = include/pare.h
pareincludedir = $(includedir)/pare
pareinclude_HEADERS =
pareinclude_HEADERS += include/pare/context.h
pareinclude_HEADERS += include/pare/device.h
pareinclude_HEADERS += include/pare/kernel.h
pareinclude_HEADERS += include/pare/opencl.h
pareinclude_HEADERS += include/pare/status.h
pareinclude_HEADERS += include/pare/tensor.h
pareinclude_HEADERS += include/pare/elementwise.h
pareinclude_HEADERS += include/pare/gemm.h
pareinclude_HEADERS += include/pare/quantise.h
pareinclude_HEADERS += include/pare/random.h
pareinclude_HEADERS += include/pare/normalise.h
pareinclude_HEADERS += include/pare/reduce.h
pareinclude_HEADERS += include/pare/move.h
pareinclude_HEADERS += include/pare/select.h
