# cmake --install: a tree that can be moved.
