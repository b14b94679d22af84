# The CUDA kernels, and whether they are built: OVCORE_CUDA, a CMake option or else an environment
# variable, is ON (nvcc must be there), OFF, or AUTO: where there are nvcc and an NVIDIA driver, so
# that nobody waits for kernels that cannot run.
set(OVCORE_CUDA_SOURCES
  cpp/cuda/angle_histogram.cu
  cpp/cuda/candidate_hits.cu
  cpp/cuda/candidate_lists.cu
  cpp/cuda/candidate_scores.cu
  cpp/cuda/ensemble_predictions.cu
  cpp/cuda/joint_agreement.cu
  cpp/cuda/joint_errors.cu
  cpp/cuda/joint_errors_mma.cu
  cpp/cuda/pack_errors.cu
  cpp/cuda/pair_ensemble_hits.cu
  cpp/cuda/screen_pairs.cu
  cpp/cuda/take_rows.cu
  cpp/cuda/temperature_nll.cu)
set(OVCORE_CUDA_SOURCES_90A cpp/cuda/joint_errors_wgmma.cu)  # instructions of that chip alone

set(default AUTO)
if(DEFINED ENV{OVCORE_CUDA})
  set(default "$ENV{OVCORE_CUDA}")
endif()
set(OVCORE_CUDA "${default}" CACHE STRING "Build the CUDA kernels: AUTO, ON or OFF")
if(NOT OVCORE_CUDA MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "OVCORE_CUDA must be AUTO, ON or OFF, got ${OVCORE_CUDA}")
endif()
if(OVCORE_CUDA STREQUAL "OFF")
  return()
endif()

find_program(OVCORE_NVCC nvcc HINTS ENV CUDA_HOME ENV CUDA_PATH /usr/local/cuda PATH_SUFFIXES bin)
find_program(OVCORE_NVIDIA_SMI nvidia-smi HINTS /usr/local/nvidia/bin)
if(NOT OVCORE_NVCC)
  if(OVCORE_CUDA STREQUAL "ON")
    message(FATAL_ERROR "OVCORE_CUDA is ON, but there is no nvcc")
  endif()
  return()
endif()
if(OVCORE_CUDA STREQUAL "AUTO" AND NOT OVCORE_NVIDIA_SMI
    AND NOT EXISTS /proc/driver/nvidia/version)
  message(STATUS "nvcc is here but no NVIDIA driver: OVCORE_CUDA=ON builds the CUDA kernels anyway")
  return()
endif()

if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
  set(CMAKE_CUDA_COMPILER ${OVCORE_NVCC})
endif()
set(CMAKE_CUDA_ARCHITECTURES 80-real 86-real 89-real 90-real)
set(why "")
include(CheckLanguage)
check_language(CUDA)
if(CMAKE_CUDA_COMPILER)
  enable_language(CUDA)
  if(CMAKE_CUDA_COMPILER_VERSION VERSION_LESS 12.0)
    set(why "nvcc ${CMAKE_CUDA_COMPILER_VERSION} is older than 12.0")
  endif()
else()
  set(why "${OVCORE_NVCC} does not compile")
endif()
if(why)
  if(OVCORE_CUDA STREQUAL "ON")
    message(FATAL_ERROR "OVCORE_CUDA is ON, but ${why}")
  endif()
  message(STATUS "The CUDA kernels are not built: ${why}")
  return()
endif()
set(CMAKE_CUDA_STANDARD 17)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_VISIBILITY_PRESET hidden)
set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
if(CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER_EQUAL 12.8)
  list(APPEND CMAKE_CUDA_ARCHITECTURES 100)  # and as PTX, for later chips
else()
  list(APPEND CMAKE_CUDA_ARCHITECTURES 90-virtual)
endif()
find_package(CUDAToolkit REQUIRED)

add_library(ovcore_cuda STATIC ${OVCORE_CUDA_SOURCES})
add_library(ovcore::cuda ALIAS ovcore_cuda)
set_target_properties(ovcore_cuda PROPERTIES EXPORT_NAME cuda)
target_compile_features(ovcore_cuda PUBLIC cxx_std_17)
add_library(ovcore_cuda_90a OBJECT ${OVCORE_CUDA_SOURCES_90A})
set_target_properties(ovcore_cuda_90a PROPERTIES CUDA_ARCHITECTURES 90a-real)
target_sources(ovcore_cuda PRIVATE $<TARGET_OBJECTS:ovcore_cuda_90a>)
target_compile_definitions(ovcore_cuda PRIVATE OVCORE_HAVE_WGMMA)
target_include_directories(ovcore_cuda PUBLIC
  $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/cpp/include>)
target_link_libraries(ovcore_cuda PUBLIC CUDA::cudart_static)
target_include_directories(ovcore_cuda_90a PRIVATE cpp/include)
foreach(target ovcore_cuda ovcore_cuda_90a)
  target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr
    $<$<BOOL:${OVCORE_WERROR}>:-Werror=all-warnings>>)
endforeach()
