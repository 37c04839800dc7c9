# RETORT_CUDA=ON: .cu files are compiled by nvcc, found by CUDACXX, PATH or the usual folder.
find_program(RETORT_NVCC nvcc HINTS ENV CUDACXX ENV CUDA_HOME ENV CUDA_PATH
             PATHS /usr/local/cuda PATH_SUFFIXES bin)
if(NOT RETORT_NVCC AND NOT DEFINED ENV{CUDACXX})
  message(FATAL_ERROR "RETORT_CUDA=ON needs nvcc: put it on PATH or name it in CUDACXX")
endif()
if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
  set(CMAKE_CUDA_COMPILER ${RETORT_NVCC})
endif()
set(CMAKE_CUDA_RUNTIME_LIBRARY Shared)  # the one that LibTorch loads
set(CMAKE_CUDA_ARCHITECTURES "80;90" CACHE STRING "GPU generations that kernels are compiled for")
enable_language(CUDA)
# CMake 3.25.1 does not know that nvcc 12 and later understand C++20.
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
endif()
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
# Kernels keep to the rule of cmake/RetortCompiler.cmake: no contraction, so that what is
# elementwise rounds as on the CPU.
set(CMAKE_CUDA_FLAGS_RELEASE "-O3 -DNDEBUG")
target_compile_options(retort_options INTERFACE
                       $<$<COMPILE_LANGUAGE:CUDA>:--fmad=false>)

find_package(CUDAToolkit REQUIRED)
find_path(RETORT_NCCL_INCLUDE nccl.h HINTS ${CUDAToolkit_INCLUDE_DIRS} REQUIRED)
find_library(RETORT_NCCL NAMES nccl libnccl.so.2 HINTS ${CUDAToolkit_LIBRARY_DIR} REQUIRED)
# By name, not as a target: all sources but *_cuda.cpp keep the flags that they have without CUDA,
# and with them their objects in ccache.
get_target_property(RETORT_CUDART_SHARED CUDA::cudart IMPORTED_LOCATION)
get_target_property(RETORT_CUBLAS CUDA::cublas IMPORTED_LOCATION)  # the one that LibTorch loads, too
function(retort_use_cuda_headers)
  foreach(folder ${CUDAToolkit_INCLUDE_DIRS} ${RETORT_NCCL_INCLUDE})
    set_property(SOURCE ${ARGN} APPEND PROPERTY COMPILE_OPTIONS -isystem ${folder})
  endforeach()
endfunction()
