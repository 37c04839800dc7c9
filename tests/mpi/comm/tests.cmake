retort_add_mpi_test(comm communicator RANKS 1 2 3 4)
retort_add_mpi_test(comm tree_reducer RANKS 1 2 3 4)
retort_add_mpi_test(comm job_end)  # run by tests/mpi/scripts/job_end_test.sh
