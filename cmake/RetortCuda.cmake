# RETORT_CUDA=ON: .cu files are compiled by nvcc, found by CUDACXX, PATH or the usual folder.
find_program(RETORT_NVCC nvcc HINTS ENV CUDACXX ENV CUDA_HOME ENV CUDA_PATH
             PATHS /usr/local/cuda PATH_SUFFIXES bin)
if(NOT RETORT_NVCC AND NOT DEFINED ENV{CUDACXX})
  message(FATAL_ERROR "RETORT_CUDA=ON needs nvcc: put it on PATH or name it in CUDACXX")
endif()
if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
  set(CMAKE_CUDA_COMPILER ${RETORT_NVCC})
endif()
set(CMAKE_CUDA_ARCHITECTURES "80;90" CACHE STRING "GPU generations that kernels are compiled for")
enable_language(CUDA)
# CMake 3.25.1 does not know that nvcc 12 and later understand C++20.
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
endif()
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
