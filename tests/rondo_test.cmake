# Environment of every test: one OpenMP thread a rank, where things are, and what the sanitizers are to overlook.
set(RONDO_TEST_ENVIRONMENT
  OMP_NUM_THREADS=1
  RONDO_SOURCE_DIR=${PROJECT_SOURCE_DIR}
  RONDO_BINARY_DIR=${PROJECT_BINARY_DIR})
set(RONDO_RANK_TEST_ENVIRONMENT "")
# Time limits are there to end what hangs; instrumented code takes several times as long to get anywhere.
set(RONDO_TIMEOUT_FACTOR 1)
if(RONDO_SANITIZE)
  set(RONDO_TIMEOUT_FACTOR 5)
endif()
if(RONDO_SANITIZE MATCHES address)
  list(APPEND RONDO_TEST_ENVIRONMENT
    LSAN_OPTIONS=suppressions=${CMAKE_CURRENT_LIST_DIR}/support/lsan.supp:print_suppressions=0)
  # Whole stacks, or the frames of Open MPI that the suppressions name are missing.
  set(RONDO_RANK_TEST_ENVIRONMENT ASAN_OPTIONS=fast_unwind_on_malloc=0)
elseif(RONDO_SANITIZE MATCHES thread)
  list(APPEND RONDO_TEST_ENVIRONMENT
    TSAN_OPTIONS=suppressions=${CMAKE_CURRENT_LIST_DIR}/support/tsan.supp:ignore_noninstrumented_modules=1)
endif()

# rondo_test(<name> SOURCES ... [DEPS ...] [LABELS ...] [TIMEOUT seconds])
#
# One executable, one entry of ctest. Sources are relative to the calling folder. Ranks are threads here; one OpenMP thread each.
function(rondo_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;DEPS;LABELS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  math(EXPR ARG_TIMEOUT "${ARG_TIMEOUT} * ${RONDO_TIMEOUT_FACTOR}")
  if(NOT ARG_LABELS)
    set(ARG_LABELS fast)
  endif()
  add_executable(${name} ${ARG_SOURCES})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE rondo_flags ${ARG_DEPS} GTest::gmock GTest::gtest_main)
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "${ARG_LABELS}"
    ENVIRONMENT "${RONDO_TEST_ENVIRONMENT}")
endfunction()

# rondo_rank_test(<name> SOURCES ... [DEPS ...] [RANKS ...] [MAIN file] [TIMEOUT seconds])
#
# The same bodies under mpirun: one entry of ctest per world size (default 1 2 3 4 7; instrumented: 3 alone), labelled mpi. The sources use
# tests/support/rank_test.h; tests/support/mpi_ranks.cc agrees on the verdict. MAIN runs the bodies on the ranks (default: tests/support/mpi_main.cc).
function(rondo_rank_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT;MAIN" "SOURCES;DEPS;RANKS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  math(EXPR ARG_TIMEOUT "${ARG_TIMEOUT} * ${RONDO_TIMEOUT_FACTOR}")
  if(NOT ARG_MAIN)
    set(ARG_MAIN ${PROJECT_SOURCE_DIR}/tests/support/mpi_main.cc)
  endif()
  if(NOT ARG_RANKS)
    set(ARG_RANKS 1 2 3 4 7)
  endif()
  if(RONDO_SANITIZE) # the same code at each world; the rank threads of the other tests take them all
    set(ARG_RANKS 3)
  endif()
  add_executable(${name} ${ARG_SOURCES} ${ARG_MAIN}
    ${PROJECT_SOURCE_DIR}/tests/support/mpi_ranks.cc)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE rondo_flags ${ARG_DEPS} rondo::comm GTest::gmock MPI::MPI_CXX)
  foreach(ranks IN LISTS ARG_RANKS)
    add_test(NAME ${name}.ranks_${ranks}
      COMMAND ${MPIEXEC_EXECUTABLE} --allow-run-as-root --oversubscribe --mca mpi_yield_when_idle 1
              ${MPIEXEC_NUMPROC_FLAG} ${ranks} $<TARGET_FILE:${name}>)
    set_tests_properties(${name}.ranks_${ranks} PROPERTIES
      PROCESSORS 2 TIMEOUT ${ARG_TIMEOUT} LABELS mpi
      ENVIRONMENT "${RONDO_TEST_ENVIRONMENT};${RONDO_RANK_TEST_ENVIRONMENT}")
  endforeach()
endfunction()

# rondo_fuzz_test(<name> SOURCES ... [DEPS ...] [SECONDS n])
#
# A fuzz target in the form of libFuzzer (LLVMFuzzerTestOneInput, and kFuzzSeeds), driven by tests/support/fuzz_main.cc: the
# same seeds and mutations each time, and with SECONDS more of them until that time has passed.
function(rondo_fuzz_test name)
  cmake_parse_arguments(ARG "" "SECONDS" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES} ${PROJECT_SOURCE_DIR}/tests/support/fuzz_main.cc)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE rondo_flags ${ARG_DEPS} rondo::base)
  set(label fast)
  if(ARG_SECONDS)
    set(label fuzz)
    set(ARG_SECONDS --seconds ${ARG_SECONDS})
  endif()
  add_test(NAME ${name} COMMAND ${name} ${ARG_SECONDS})
  math(EXPR timeout "120 * ${RONDO_TIMEOUT_FACTOR}")
  set_tests_properties(${name} PROPERTIES TIMEOUT ${timeout} LABELS ${label})
endfunction()

# rondo_program_test(<name> SOURCES ... [DEPS ...] [LABELS ...] [TIMEOUT seconds] [RANKS n])
#
# A test that runs the program itself (tests/support/rondo_program.h), alone or on so many ranks under mpirun.
function(rondo_program_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT;RANKS" "SOURCES;DEPS;LABELS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 600)
  endif()
  if(NOT ARG_RANKS)
    set(ARG_RANKS 1)
  endif()
  if(NOT ARG_LABELS)
    set(ARG_LABELS program)
  endif()
  rondo_test(${name} SOURCES ${ARG_SOURCES} ${PROJECT_SOURCE_DIR}/tests/support/process.cc DEPS rondo::base ${ARG_DEPS}
    LABELS ${ARG_LABELS} TIMEOUT ${ARG_TIMEOUT})
  add_dependencies(${name} rondo)
  target_compile_definitions(${name} PRIVATE
    RONDO_PROGRAM="$<TARGET_FILE:rondo>" RONDO_MPIEXEC="${MPIEXEC_EXECUTABLE}")
  set_tests_properties(${name} PROPERTIES PROCESSORS ${ARG_RANKS}
    ENVIRONMENT "${RONDO_TEST_ENVIRONMENT};${RONDO_RANK_TEST_ENVIRONMENT}")
endfunction()

# The doubles of CUDA and NCCL, for tests of backend `nccl` without a device.
set(RONDO_NCCL_DOUBLE
  ${PROJECT_SOURCE_DIR}/tests/support/fake_board.cc
  ${PROJECT_SOURCE_DIR}/tests/support/fake_cuda.cc
  ${PROJECT_SOURCE_DIR}/tests/support/fake_nccl.cc
  ${PROJECT_SOURCE_DIR}/tests/support/fake_nccl_board.cc
  ${PROJECT_SOURCE_DIR}/tests/support/fake_nccl_launch.cc
  ${PROJECT_SOURCE_DIR}/tests/support/nccl_ranks.cc)
# The double of the row kernels, for tests of rows on devices.
set(RONDO_ROW_DOUBLE ${PROJECT_SOURCE_DIR}/tests/support/fake_row_kernels.cc)
set(RONDO_DEVICE_DOUBLE ${RONDO_NCCL_DOUBLE} ${RONDO_ROW_DOUBLE})
# The same between the processes of mpirun.
set(RONDO_NCCL_PROCESSES ${RONDO_NCCL_DOUBLE} ${PROJECT_SOURCE_DIR}/tests/support/nccl_processes.cc)
