# Compiler settings that every target shares. No floating-point contraction anywhere: results must
# not depend on where the vectoriser put its tails.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()
set(CMAKE_CXX_FLAGS_RELEASE "-O3 -DNDEBUG")

add_library(retort_options INTERFACE)
set(host_flags -Wall -Wextra -ffp-contract=off -fno-math-errno)
if(RETORT_ARCH)
  list(APPEND host_flags -march=${RETORT_ARCH})
endif()
target_compile_options(retort_options INTERFACE "$<$<COMPILE_LANGUAGE:C,CXX>:${host_flags}>")
list(TRANSFORM host_flags PREPEND "-Xcompiler=" OUTPUT_VARIABLE nvcc_flags)
target_compile_options(retort_options INTERFACE "$<$<COMPILE_LANGUAGE:CUDA>:${nvcc_flags}>")
set(RETORT_SANITIZE "" CACHE STRING "Value of -fsanitize=, empty: none")
if(RETORT_SANITIZE)
  target_compile_options(retort_options INTERFACE
                         $<$<COMPILE_LANGUAGE:C,CXX>:-fsanitize=${RETORT_SANITIZE}>
                         $<$<COMPILE_LANGUAGE:C,CXX>:-fno-omit-frame-pointer>)
  target_link_options(retort_options INTERFACE -fsanitize=${RETORT_SANITIZE})
endif()
find_program(RETORT_CCACHE ccache)
if(RETORT_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR}
      CCACHE_NOHASHDIR=1 CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
      ${RETORT_CCACHE})
  target_compile_options(retort_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-fpch-preprocess>)
endif()
find_program(RETORT_LLD ld.lld)
if(RETORT_LLD AND NOT RETORT_SANITIZE)
  target_link_options(retort_options INTERFACE -fuse-ld=lld)
endif()
