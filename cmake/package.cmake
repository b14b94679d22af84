# The C++ package that `cmake --install` makes: static libraries, headers, and what
# find_package(ovcore) reads. It holds no absolute path, so that its folder can be moved.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)
set(OVCORE_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/ovcore)

set(targets ovcore_kernels)
set(headers kernels.hpp matrix_view.hpp)
set(OVCORE_HAS_CUDA OFF)
if(TARGET ovcore_cuda)
  list(APPEND targets ovcore_cuda)
  list(APPEND headers cuda.hpp)
  set(OVCORE_HAS_CUDA ON)
endif()
list(TRANSFORM headers PREPEND cpp/include/ovcore/)

install(FILES ${headers} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/ovcore)
install(TARGETS ${targets} EXPORT ovcore ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
  INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT ovcore NAMESPACE ovcore:: FILE ovcoreTargets.cmake
  DESTINATION ${OVCORE_CMAKE_DIR})

configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/ovcoreConfig.cmake.in
  ${PROJECT_BINARY_DIR}/ovcoreConfig.cmake INSTALL_DESTINATION ${OVCORE_CMAKE_DIR})
# Before 1.0 a new minor version may change the interface.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/ovcoreConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/ovcoreConfig.cmake
  ${PROJECT_BINARY_DIR}/ovcoreConfigVersion.cmake DESTINATION ${OVCORE_CMAKE_DIR})
