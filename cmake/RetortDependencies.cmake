# Everything outside the tree, each found once, each as an imported target.
find_package(Threads REQUIRED)
find_package(MPI REQUIRED COMPONENTS C)
set(HDF5_PREFER_PARALLEL OFF)
find_package(HDF5 REQUIRED COMPONENTS C)
find_package(Boost 1.74 REQUIRED COMPONENTS program_options)
find_package(OpenSSL REQUIRED COMPONENTS Crypto)
find_package(nlohmann_json REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(ZLIB REQUIRED)
find_package(PNG REQUIRED)
find_package(Freetype REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(TURBOJPEG REQUIRED IMPORTED_TARGET libturbojpeg)
pkg_check_modules(LIBZIP REQUIRED IMPORTED_TARGET libzip)
# OpenCV by its libraries: Debian's package file comes only with the whole of OpenCV.
find_path(RETORT_OPENCV_INCLUDE opencv2/core.hpp PATH_SUFFIXES opencv4 REQUIRED)
find_library(RETORT_OPENCV_CORE opencv_core REQUIRED)
find_library(RETORT_OPENCV_IMGPROC opencv_imgproc REQUIRED)
add_library(retort_opencv INTERFACE)
target_include_directories(retort_opencv SYSTEM INTERFACE ${RETORT_OPENCV_INCLUDE})
target_link_libraries(retort_opencv INTERFACE ${RETORT_OPENCV_IMGPROC} ${RETORT_OPENCV_CORE})

# ONNX by its message types alone: Debian's package file wants more. They are messages of the
# system's protobuf; the one inside LibTorch is hidden there and of other names (onnx_torch).
find_path(RETORT_ONNX_INCLUDE onnx/onnx_pb.h REQUIRED)
find_library(RETORT_ONNX_PROTO onnx_proto REQUIRED)
find_library(RETORT_PROTOBUF protobuf REQUIRED)
add_library(retort_onnx INTERFACE)
target_include_directories(retort_onnx SYSTEM INTERFACE ${RETORT_ONNX_INCLUDE})
target_link_libraries(retort_onnx INTERFACE ${RETORT_ONNX_PROTO} ${RETORT_PROTOBUF})

# LibTorch: the PyPI wheel unpacked in .deps, or any LibTorch under CMAKE_PREFIX_PATH. Its own
# package file insists on a whole CUDA, so torch_cpu and c10 are imported by hand.
find_path(RETORT_TORCH_INCLUDE torch/csrc/api/include/torch/torch.h
          PATHS ${CMAKE_SOURCE_DIR}/.deps/torch/include
          PATH_SUFFIXES include torch/include REQUIRED)
get_filename_component(RETORT_TORCH_ROOT ${RETORT_TORCH_INCLUDE} DIRECTORY)
find_library(RETORT_TORCH_CPU torch_cpu PATHS ${RETORT_TORCH_ROOT}/lib REQUIRED NO_DEFAULT_PATH)
find_library(RETORT_C10 c10 PATHS ${RETORT_TORCH_ROOT}/lib REQUIRED NO_DEFAULT_PATH)
find_library(RETORT_CUDART NAMES libcudart.so.13 cudart
             PATHS ${CMAKE_SOURCE_DIR}/.deps/nvidia/cu13/lib PATH_SUFFIXES lib lib64)
find_library(RETORT_CUPTI NAMES libcupti.so.13 cupti
             PATHS ${CMAKE_SOURCE_DIR}/.deps/nvidia/cu13/lib PATH_SUFFIXES lib lib64
                   extras/CUPTI/lib64)
add_library(retort_torch INTERFACE)
# After the system's folders: the wheel brings headers of fmt and others that are not those we link.
target_compile_options(retort_torch INTERFACE
  "$<$<COMPILE_LANGUAGE:CXX>:SHELL:-idirafter ${RETORT_TORCH_INCLUDE}>"
  "$<$<COMPILE_LANGUAGE:CXX>:SHELL:-idirafter ${RETORT_TORCH_INCLUDE}/torch/csrc/api/include>")
target_link_libraries(retort_torch INTERFACE ${RETORT_TORCH_CPU} ${RETORT_C10})
set(RETORT_RUNTIME_FOLDERS ${RETORT_TORCH_ROOT}/lib)
foreach(library ${RETORT_CUDART} ${RETORT_CUPTI})
  if(library)
    get_filename_component(folder ${library} DIRECTORY)
    list(APPEND RETORT_RUNTIME_FOLDERS ${folder})
    target_link_options(retort_torch INTERFACE -Wl,-rpath-link,${folder})
  endif()
endforeach()
if(RETORT_CUDA)
  # The operators of torch_cuda register themselves: nothing names a symbol of it. What it needs in
  # turn (cuDNN, cuBLAS and others, some of it only in wheels) has to be there at run time only.
  find_library(RETORT_TORCH_CUDA torch_cuda PATHS ${RETORT_TORCH_ROOT}/lib REQUIRED NO_DEFAULT_PATH)
  find_library(RETORT_C10_CUDA c10_cuda PATHS ${RETORT_TORCH_ROOT}/lib REQUIRED NO_DEFAULT_PATH)
  add_library(retort_torch_cuda INTERFACE)
  target_link_libraries(retort_torch_cuda INTERFACE ${RETORT_CUDART_SHARED} ${RETORT_CUBLAS}
                        ${RETORT_C10_CUDA}
                        "-Wl,--no-as-needed,${RETORT_TORCH_CUDA},--as-needed")
  target_link_options(retort_torch_cuda INTERFACE -Wl,--allow-shlib-undefined)
  get_filename_component(folder ${RETORT_NCCL} DIRECTORY)
  list(APPEND RETORT_RUNTIME_FOLDERS ${CUDAToolkit_LIBRARY_DIR} ${folder})
endif()
list(REMOVE_DUPLICATES RETORT_RUNTIME_FOLDERS)
set(CMAKE_BUILD_RPATH ${RETORT_RUNTIME_FOLDERS})
