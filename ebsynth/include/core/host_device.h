// Functions that nvcc compiles for host and device, and any other compiler for the host.
#pragma once

#ifdef __CUDACC__
#define EBS_HD __host__ __device__ __forceinline__
#else
#define EBS_HD inline
#endif
