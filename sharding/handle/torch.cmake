# LibTorch as imported targets of our own. find_package(Torch) asks for CUDA even in a CPU build and always links it.
#
#   rondo::torch       libtorch_cpu and libc10
#   rondo::torch_cuda  the same with CUDA and NCCL; only where RONDO_CUDA is on and the toolkit is found
#
# Searched: RONDO_TORCH, then what launch/setup.sh made, then an installed PyTorch.
set(RONDO_TORCH_VERSION 2.11.0)

if(DEFINED ENV{RONDO_DEPS})
  set(_deps $ENV{RONDO_DEPS})
elseif(DEFINED ENV{XDG_CACHE_HOME})
  set(_deps $ENV{XDG_CACHE_HOME}/rondo)
else()
  set(_deps $ENV{HOME}/.cache/rondo)
endif()

set(_candidates ${RONDO_TORCH})
file(GLOB _from_setup ${_deps}/torch-${RONDO_TORCH_VERSION}/lib/python3*/site-packages/torch)
list(APPEND _candidates ${_from_setup})
find_program(RONDO_PYTHON python3)
if(RONDO_PYTHON AND NOT _candidates)
  execute_process(
    COMMAND ${RONDO_PYTHON} -c
      "import importlib.util as u; s = u.find_spec('torch'); print(s.submodule_search_locations[0] if s else '', end='')"
    OUTPUT_VARIABLE _installed ERROR_QUIET)
  list(APPEND _candidates ${_installed})
endif()

set(_torch "")
foreach(candidate IN LISTS _candidates)
  if(NOT _torch AND EXISTS ${candidate}/include/torch/headeronly/version.h)
    file(STRINGS ${candidate}/include/torch/headeronly/version.h _version REGEX "^ *\"[0-9.]+\"")
    if(_version MATCHES "\"${RONDO_TORCH_VERSION}\"")
      set(_torch ${candidate})
    else()
      message(STATUS "torch in ${candidate} is not ${RONDO_TORCH_VERSION}: ${_version}")
    endif()
  endif()
endforeach()
if(NOT _torch)
  message(FATAL_ERROR "torch ${RONDO_TORCH_VERSION} not found in '${_candidates}'.\n"
    "Run launch/setup.sh, or give its folder: -DRONDO_TORCH=/path/to/site-packages/torch")
endif()
message(STATUS "torch ${RONDO_TORCH_VERSION}: ${_torch}")

set(RONDO_HAVE_CUDA OFF)
if(RONDO_CUDA)
  find_package(CUDAToolkit QUIET)
  if(CUDAToolkit_FOUND)
    find_library(RONDO_NCCL nccl HINTS ${CUDAToolkit_LIBRARY_DIR})
    if(RONDO_NCCL AND EXISTS ${_torch}/lib/libtorch_cuda.so)
      set(RONDO_HAVE_CUDA ON)
    endif()
  endif()
endif()
if(RONDO_HAVE_CUDA)
  # Kernels for the devices of A100, H100 and B200 nodes, and code that later ones translate when they load it.
  if(NOT CMAKE_CUDA_ARCHITECTURES)
    set(CMAKE_CUDA_ARCHITECTURES 80-real 90-real 100)
  endif()
  if(RONDO_CCACHE)
    set(CMAKE_CUDA_COMPILER_LAUNCHER ${RONDO_CCACHE})
  endif()
  set(CMAKE_CUDA_COMPILER ${CUDAToolkit_NVCC_EXECUTABLE} CACHE FILEPATH "The compiler of the kernels")
  enable_language(CUDA)
  # CMake 3.25 does not know that this nvcc has C++20.
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
endif()
message(STATUS "CUDA and NCCL: ${RONDO_HAVE_CUDA}")

# The wheel carries headers of protobuf 3.13 and fmt 12: searched last, or they shadow the system's.
set(_torch_include "SHELL:-idirafter ${_torch}/include" "SHELL:-idirafter ${_torch}/include/torch/csrc/api/include")

# libtorch_cpu loads the CUDA runtime and profiler libraries: from a toolkit, else from their wheels.
set(_site ${_torch}/..)
file(GLOB _wheel_folders ${_site}/nvidia/*/lib)
set(_rpath ${_torch}/lib ${_wheel_folders})
if(CUDAToolkit_FOUND)
  list(APPEND _rpath ${CUDAToolkit_LIBRARY_DIR} ${CUDAToolkit_TARGET_DIR}/extras/CUPTI/lib64)
endif()
set(CMAKE_BUILD_RPATH ${_rpath})
set(_link_search "")
foreach(folder IN LISTS _rpath)
  list(APPEND _link_search "LINKER:-rpath-link,${folder}")
endforeach()

add_library(rondo_torch INTERFACE)
add_library(rondo::torch ALIAS rondo_torch)
target_compile_options(rondo_torch INTERFACE ${_torch_include})
target_link_options(rondo_torch INTERFACE ${_link_search})
target_link_libraries(rondo_torch INTERFACE ${_torch}/lib/libtorch_cpu.so ${_torch}/lib/libc10.so)

if(RONDO_HAVE_CUDA)
  add_library(rondo_torch_cuda INTERFACE)
  add_library(rondo::torch_cuda ALIAS rondo_torch_cuda)
  target_link_libraries(rondo_torch_cuda INTERFACE rondo_torch
    # They register themselves when loaded; nothing of ours names a symbol of theirs.
    "-Wl,--push-state,--no-as-needed" ${_torch}/lib/libtorch_cuda.so ${_torch}/lib/libc10_cuda.so ${RONDO_NCCL} CUDA::cudart
    "-Wl,--pop-state")
endif()
