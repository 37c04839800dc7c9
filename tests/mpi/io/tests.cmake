retort_add_mpi_test(io checkpoint RANKS 1 2 3 4)
# Run by tests/mpi/scripts/checkpoint_worlds_test.sh on changing numbers of ranks.
add_executable(mpi_checkpoint_worlds ${CMAKE_SOURCE_DIR}/tests/mpi/io/checkpoint_worlds.cpp)
target_link_libraries(mpi_checkpoint_worlds PRIVATE retort_io)
