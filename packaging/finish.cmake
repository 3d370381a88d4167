# SPDX-License-Identifier: Apache-2.0
# CPack runs this between installing into the folders that become packages and packing them: Debian's manual pages and
# changelogs are compressed, its shared libraries not executable.
set(root "${CPACK_TEMPORARY_DIRECTORY}/*/usr")
file(GLOB pages "${root}/share/man/man[1-8]/*.[1-8]")
file(GLOB changelogs "${root}/share/doc/*/changelog")
foreach(file ${pages} ${changelogs})
  execute_process(COMMAND gzip --best --no-name "${file}" COMMAND_ERROR_IS_FATAL ANY)
endforeach()
file(GLOB libraries "${root}/lib/*/*.so.*")
foreach(file ${libraries})
  if(NOT IS_SYMLINK "${file}")
    file(CHMOD "${file}" PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ WORLD_READ)
  endif()
endforeach()
