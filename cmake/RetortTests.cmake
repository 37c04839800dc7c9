# Declares tests. Tiers are CTest labels. Every test knows RETORT (the program) and RETORT_SOURCE
# (this tree); RETORT_DATA and RETORT_GOLDEN come from the caller (scripts/environment.sh), tests
# take $RETORT_SOURCE/../shared/data and $RETORT_SOURCE/../shared/methods/golden without them.
set(RETORT_TEST_ENVIRONMENT "RETORT=${CMAKE_BINARY_DIR}/bin/retort" "RETORT_SOURCE=${CMAKE_SOURCE_DIR}"
    "OMPI_ALLOW_RUN_AS_ROOT=1" "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1")

# One precompiled header (ATen, GoogleTest) for all test programs that see torch.
function(retort_use_test_header target)
  if(NOT TARGET retort_test_header)
    file(WRITE ${CMAKE_BINARY_DIR}/test_header.cpp "")
    add_library(retort_test_header OBJECT ${CMAKE_BINARY_DIR}/test_header.cpp)
    target_link_libraries(retort_test_header PRIVATE retort_nn GTest::gmock GTest::gtest)
    target_precompile_headers(retort_test_header PRIVATE ${CMAKE_SOURCE_DIR}/cmake/torch_pch.h
                              <gmock/gmock.h> <gtest/gtest.h>)
  endif()
  target_precompile_headers(${target} REUSE_FROM retort_test_header)
  # The header is compiled with -fPIC; a program's own default, -fPIE, would leave it unused.
  set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
  target_compile_options(${target} PRIVATE -fPIC)
endfunction()

# tests/<tier>/<folder>/*_test.cpp becomes one program that links the layer <folder>.
function(retort_add_test_tier tier)
  foreach(folder core comm io nn stages pipeline launch)
    file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/${tier}/${folder}/*_test.cpp)
    if(sources)
      set(name ${tier}_${folder})
      add_executable(${name} ${sources})
      target_link_libraries(${name} PRIVATE retort_${folder} GTest::gmock GTest::gtest_main)
      if(tier STREQUAL "gpu")
        retort_use_cuda_headers(${sources})
      endif()
      if(folder MATCHES "^(nn|stages)$")
        retort_use_test_header(${name})
      endif()
      gtest_discover_tests(${name} TEST_PREFIX ${name}: DISCOVERY_MODE PRE_TEST
                           DISCOVERY_TIMEOUT 60 PROPERTIES LABELS ${tier} TIMEOUT 300)
      # gtest_discover_tests flattens lists, so the environment follows in a file of its own.
      set(file ${CMAKE_CURRENT_BINARY_DIR}/${name}_environment.cmake)
      file(CONFIGURE OUTPUT ${file} CONTENT [[
foreach(test IN LISTS @name@_TESTS)
  set_tests_properties(${test} PROPERTIES ENVIRONMENT "@RETORT_TEST_ENVIRONMENT@")
endforeach()
]] @ONLY)
      set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES ${file})
    endif()
  endforeach()
endfunction()

# retort_add_mpi_test(FOLDER NAME RANKS 1 2 4 [TIER gpu]): tests/<tier>/<folder>/NAME.cpp, by default
# of the tier mpi (own main, tests/mpi/mpi_main.h), run under mpirun once per rank count.
function(retort_add_mpi_test folder name)
  cmake_parse_arguments(ARG "" "TIER" "RANKS" ${ARGN})
  if(NOT ARG_TIER)
    set(ARG_TIER mpi)
  endif()
  set(target ${ARG_TIER}_${name})
  add_executable(${target} ${CMAKE_SOURCE_DIR}/tests/${ARG_TIER}/${folder}/${name}.cpp)
  target_link_libraries(${target} PRIVATE retort_${folder} GTest::gmock GTest::gtest)
  if(ARG_TIER STREQUAL "gpu")
    retort_use_cuda_headers(${CMAKE_SOURCE_DIR}/tests/${ARG_TIER}/${folder}/${name}.cpp)
  endif()
  foreach(ranks ${ARG_RANKS})
    add_test(NAME ${target}:ranks=${ranks}
             COMMAND ${MPIEXEC_EXECUTABLE} --oversubscribe --bind-to none --mca mpi_yield_when_idle 1
                     -n ${ranks} $<TARGET_FILE:${target}>)
    set_tests_properties(${target}:ranks=${ranks} PROPERTIES LABELS ${ARG_TIER} PROCESSORS 2
      TIMEOUT 300 ENVIRONMENT "${RETORT_TEST_ENVIRONMENT}"
      SKIP_REGULAR_EXPRESSION "\\[  SKIPPED \\]")
  endforeach()
endfunction()
function(retort_add_mpi_tests)
  if(RETORT_CUDA)
    retort_add_mpi_test(comm exchange RANKS 1 2 4 8 TIER gpu)
  endif()
  foreach(folder comm io stages pipeline launch)
    if(EXISTS ${CMAKE_SOURCE_DIR}/tests/mpi/${folder}/tests.cmake)
      include(${CMAKE_SOURCE_DIR}/tests/mpi/${folder}/tests.cmake)
    endif()
  endforeach()
endfunction()

# tests/bench/<folder>/NAME_bench.cpp: a program that prints one JSON line per case.
function(retort_add_benchmarks)
  foreach(folder core comm io nn stages)
    file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/bench/${folder}/*_bench.cpp)
    foreach(source ${sources})
      get_filename_component(name ${source} NAME_WE)
      add_executable(${name} ${source})
      target_link_libraries(${name} PRIVATE retort_${folder} benchmark::benchmark)
    endforeach()
  endforeach()
  if(RETORT_CUDA)
    file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/bench/gpu/*_bench.cpp)
    foreach(source ${sources})
      get_filename_component(name ${source} NAME_WE)
      add_executable(${name} ${source})
      target_link_libraries(${name} PRIVATE retort_nn)
      retort_use_cuda_headers(${source})
    endforeach()
  endif()
endfunction()

# tests/<tier>/scripts/NAME.sh: whole-program tests; get RETORT=path of the program. Exit code 77
# skips, with the reason printed.
function(retort_add_script_tests)
  # Those of the tier fault that wait for disks and clocks, or compute on one rank at a time, those of
  # the tier unit without several ranks, a browser or a time to keep, and those of the tier slurm that
  # mostly wait for Slurm (each has a cluster of its own): two of them side by side.
  set(fault_on_one_core bit_flip_test nan_test pack_resume_test poison_test power_loss_test
      read_damaged_test small_disk_test stale_heartbeat_test truncate_test write_error_test)
  set(unit_on_both_cores doctor_test idle_starts_test plan_resume_test ranks_test
      report_browser_test restarts_test section_start_test stop_test)
  set(slurm_on_both_cores rank_kill_test wrong_launch_test)
  foreach(tier unit golden mpi data fault slurm)
    file(GLOB scripts CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/${tier}/scripts/*_test.sh)
    foreach(script ${scripts})
      get_filename_component(name ${script} NAME_WE)
      set(cores 2)
      if((tier STREQUAL "fault" AND name IN_LIST fault_on_one_core)
         OR (tier STREQUAL "unit" AND NOT name IN_LIST unit_on_both_cores)
         OR (tier STREQUAL "slurm" AND NOT name IN_LIST slurm_on_both_cores))
        set(cores 1)
      endif()
      add_test(NAME ${tier}_script:${name} COMMAND bash ${script})
      set_tests_properties(${tier}_script:${name} PROPERTIES LABELS ${tier} TIMEOUT 900
        PROCESSORS ${cores} SKIP_RETURN_CODE 77
        ENVIRONMENT "${RETORT_TEST_ENVIRONMENT}")
    endforeach()
  endforeach()
endfunction()

# fuzz_NAME of each tests/fuzz/NAME_fuzz.cpp, and its kept inputs as a test of the tier unit.
function(retort_add_fuzz_targets)
  file(GLOB targets CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/fuzz/*_fuzz.cpp)
  add_library(retort_fuzz_common STATIC ${CMAKE_SOURCE_DIR}/tests/fuzz/memory_folder.cpp
              ${CMAKE_SOURCE_DIR}/tests/fuzz/source_files.cpp)
  target_link_libraries(retort_fuzz_common PUBLIC retort_io)
  foreach(source ${targets})
    get_filename_component(name ${source} NAME_WE)
    string(REGEX REPLACE "_fuzz$" "" name ${name})
    add_executable(fuzz_${name} ${source})
    target_link_libraries(fuzz_${name} PRIVATE retort_fuzz_common)
    if(RETORT_FUZZ)
      target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
    else()
      target_sources(fuzz_${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests/fuzz/replay_main.cpp)
      add_test(NAME unit_fuzz:${name}
               COMMAND fuzz_${name} ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/${name})
      set_tests_properties(unit_fuzz:${name} PROPERTIES LABELS unit TIMEOUT 120)
    endif()
  endforeach()
endfunction()
