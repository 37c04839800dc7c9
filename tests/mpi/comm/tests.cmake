retort_add_mpi_test(comm communicator RANKS 1 2 3 4)
retort_add_mpi_test(comm tree_reducer RANKS 1 2 3 4)
