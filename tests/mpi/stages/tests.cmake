retort_add_mpi_test(stages gradient_exchange RANKS 1 2 3 4)
retort_use_test_header(mpi_gradient_exchange)
retort_add_mpi_test(stages teach RANKS 1 2 3 4)
retort_use_test_header(mpi_teach)
