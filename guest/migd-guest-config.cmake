# SPDX-License-Identifier: Apache-2.0
# find_package(migd-guest): the targets migd::guest (shared) and migd::guest-static.
include(CMakeFindDependencyMacro)
find_dependency(Threads)
include("${CMAKE_CURRENT_LIST_DIR}/migd-guest-targets.cmake")
