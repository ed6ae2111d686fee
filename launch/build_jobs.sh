# Sourced by the scripts that build. Sets `jobs`, the compilers at once: one a core, as long as each has 1.5 GB.
jobs=${RONDO_JOBS:-$(awk -v cores="$(nproc)" '/MemAvailable/ {n = int($2 / 1.5e6); print n < 1 ? 1 : n < cores ? n : cores}' \
  /proc/meminfo)}
