// Marks of functions that nvcc compiles for the GPU and g++ for the CPU, where unit tests run them.
#pragma once

#if defined(__CUDACC__)
#define RETORT_DEVICE __device__
#define RETORT_HOST_DEVICE __host__ __device__
#else
#define RETORT_DEVICE
#define RETORT_HOST_DEVICE
#endif
