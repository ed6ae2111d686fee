#pragma once

/// Marks a function that kernels of a device share with the host; nothing for a host compiler.
#ifdef __CUDACC__
#define RONDO_HOST_DEVICE __host__ __device__
#else
#define RONDO_HOST_DEVICE
#endif
