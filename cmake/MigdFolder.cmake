# SPDX-License-Identifier: Apache-2.0
# migd_folder(NAME [LIBS lib...]): the static library migd_NAME of all .c files in this folder and below.
function(migd_folder name)
  cmake_parse_arguments(ARG "" "" "LIBS;EXCLUDE" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/*.c")
  foreach(file ${ARG_EXCLUDE})
    list(REMOVE_ITEM sources "${CMAKE_CURRENT_SOURCE_DIR}/${file}")
  endforeach()
  add_library(migd_${name} STATIC ${sources})
  target_link_libraries(migd_${name} PUBLIC ${ARG_LIBS})
endfunction()
