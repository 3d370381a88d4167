# SPDX-License-Identifier: Apache-2.0
# The Debian packages: one for each component of the installation. scripts/package makes them; docs/install.md.
#
# migd's own maintainer scripts are in packaging/, with what else Debian wants of a package.
set(packaging "${CMAKE_SOURCE_DIR}/packaging")
set(packages migd libmigd-guest1 libmigd-guest-dev migd-vmm)

foreach(package ${packages})
  install(FILES "${packaging}/copyright" "${packaging}/changelog" DESTINATION "${CMAKE_INSTALL_DATADIR}/doc/${package}"
    COMPONENT ${package})
  if(EXISTS "${packaging}/${package}.lintian-overrides")
    install(FILES "${packaging}/${package}.lintian-overrides" RENAME ${package} COMPONENT ${package}
      DESTINATION "${CMAKE_INSTALL_DATADIR}/lintian/overrides")
  endif()
endforeach()
file(GLOB examples CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/examples/*.c")
install(FILES ${examples} DESTINATION "${CMAKE_INSTALL_DATADIR}/doc/libmigd-guest-dev/examples" COMPONENT libmigd-guest-dev)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME migd)
set(CPACK_PACKAGE_VERSION "${PROJECT_VERSION}")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "") # else it goes before each package's own
set(CPACK_PACKAGE_CONTACT "migd maintainers <maintainers@migd.invalid>")
set(CPACK_PACKAGE_DIRECTORY "${CMAKE_BINARY_DIR}")
set(CPACK_COMPONENTS_ALL ${packages})
set(CPACK_COMPONENTS_GROUPING IGNORE)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_SET_DESTDIR ON) # for /etc
set(CPACK_STRIP_FILES ON)
set(CPACK_PRE_BUILD_SCRIPTS "${packaging}/finish.cmake")
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)

# migd_package(NAME SECTION SUMMARY DESCRIPTION [FIELD VALUE]...): FIELD as CPack calls it, such as DEPENDS.
macro(migd_package name section summary description)
  string(TOUPPER ${name} upper)
  set(CPACK_DEBIAN_${upper}_PACKAGE_NAME ${name})
  set(CPACK_DEBIAN_${upper}_PACKAGE_SECTION ${section})
  set(CPACK_DEBIAN_${upper}_DESCRIPTION "${summary}\n${description}")
  set(fields ${ARGN})
  while(fields)
    list(POP_FRONT fields field value)
    set(CPACK_DEBIAN_${upper}_PACKAGE_${field} "${value}")
  endwhile()
endmacro()

migd_package(migd admin "daemon that live-migrates the KVM guests of a host"
"One daemon per host that moves running KVM guests to another host, or to a
file, for every VMM that links libmigd-guest. It is controlled in QMP, the
JSON protocol that QEMU's tools speak, or by migctl.
.
Running migrations and guests survive a restart of the daemon, and so an
upgrade of this package."
  DEPENDS "systemd | systemd-standalone-sysusers, systemd | systemd-standalone-tmpfiles"
  SUGGESTS "migd-vmm, libmigd-guest-dev")
set(CPACK_DEBIAN_MIGD_PACKAGE_CONTROL_EXTRA "${packaging}/conffiles"
  "${packaging}/postinst" "${packaging}/prerm" "${packaging}/postrm")

migd_package(libmigd-guest1 libs "makes the guests of a KVM VMM live-migratable by migd"
"The library that a VMM links to have its guests moved by migd. It adds one
thread to the VMM and needs nothing but the C library.")
set(CPACK_DEBIAN_LIBMIGD-GUEST1_PACKAGE_CONTROL_EXTRA "${packaging}/shlibs" "${packaging}/symbols" "${packaging}/triggers")

migd_package(libmigd-guest-dev libdevel "makes the guests of a KVM VMM live-migratable by migd (development)"
"Header, static library, pkg-config and CMake files, manual page and examples
of libmigd-guest, the library that a VMM links to have its guests moved by
migd."
  DEPENDS "libmigd-guest1 (= ${PROJECT_VERSION})"
  SUGGESTS "migd")

migd_package(migd-vmm misc "reference VMM of migd, with small guests that check themselves"
"A small VMM written against libmigd-guest's public header alone, and guests
that check their own memory: to try live migration out, and as an example for
the authors of other VMMs."
  RECOMMENDS "migd")

include(CPack)
