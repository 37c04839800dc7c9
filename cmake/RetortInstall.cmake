# cmake --install build/release --prefix DIR: a tree that can be moved.
#   bin/retort, lib/ (what is not part of the system: LibTorch and what it links with),
#   share/retort/examples, share/doc/retort
include(GNUInstallDirs)
if(NOT TARGET retort)
  return()
endif()
set_target_properties(retort PROPERTIES INSTALL_RPATH "\$ORIGIN/../lib")
install(TARGETS retort RUNTIME DESTINATION bin)
install(DIRECTORY ${CMAKE_SOURCE_DIR}/examples/ DESTINATION share/retort/examples
        FILES_MATCHING PATTERN "*.ini")
install(DIRECTORY ${CMAKE_SOURCE_DIR}/docs/ DESTINATION share/doc/retort
        FILES_MATCHING PATTERN "*.md")
install(FILES ${CMAKE_SOURCE_DIR}/README.md ${CMAKE_SOURCE_DIR}/CHANGELOG.md
        DESTINATION share/doc/retort)

# Libraries from folders that only this machine knows are copied; those of the system stay there.
install(CODE "
  file(GET_RUNTIME_DEPENDENCIES
       EXECUTABLES \"$<TARGET_FILE:retort>\"
       DIRECTORIES ${RETORT_RUNTIME_FOLDERS}
       RESOLVED_DEPENDENCIES_VAR found
       UNRESOLVED_DEPENDENCIES_VAR missing
       CONFLICTING_DEPENDENCIES_PREFIX twice
       POST_EXCLUDE_REGEXES \"^/lib\" \"^/usr/lib\")
  if(missing)
    message(FATAL_ERROR \"libraries that retort needs are not found: \${missing}\")
  endif()
  # One name in two places: the one beside LibTorch is the one that LibTorch loads.
  foreach(name IN LISTS twice_FILENAMES)
    foreach(path IN LISTS twice_\${name})
      if(NOT path MATCHES \"^/(usr/)?lib\")
        list(APPEND found \${path})
      endif()
    endforeach()
  endforeach()
  list(REMOVE_DUPLICATES found)
  file(INSTALL DESTINATION \"\${CMAKE_INSTALL_PREFIX}/lib\" TYPE SHARED_LIBRARY
       FOLLOW_SYMLINK_CHAIN FILES \${found})
")
