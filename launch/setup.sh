#!/usr/bin/env bash
# Makes a machine ready to build Rondo: Debian packages, LibTorch from the Python package index and, when asked for, the
# formatter and linter. Installs only what is missing, asks nothing, and may be run at any time.
set -euo pipefail

usage() {
  cat <<'END'
usage: launch/setup.sh [--no-cuda] [--tools]

  --no-cuda   leave out what only a build with CUDA needs, even where a CUDA toolkit is found
  --tools     also install clang-format and clang-tidy in the versions that the checks are made for

Python packages go to $RONDO_DEPS, else $XDG_CACHE_HOME/rondo, else ~/.cache/rondo.

example: launch/setup.sh --no-cuda
END
}

readonly PACKAGES=(
  g++ cmake ninja-build ccache mold git ca-certificates python3 python3-venv
  openmpi-bin libopenmpi-dev
  libhdf5-dev hdf5-tools
  libprotobuf-dev protobuf-compiler
  libboost-dev libboost-program-options-dev
  libgtest-dev libgmock-dev
  libspdlog-dev libfmt-dev libabsl-dev tzdata
  nlohmann-json3-dev libssl-dev zlib1g-dev libhwy-dev libxxhash-dev libdnnl-dev
)
readonly TORCH=2.11.0
# libtorch_cpu loads the first two, whether there is a GPU or not; libtorch_cuda needs the others beside a CUDA toolkit.
readonly TORCH_CPU=("torch==$TORCH" nvidia-cuda-runtime==13.0.96 nvidia-cuda-cupti==13.0.85)
readonly TORCH_CUDA=(nvidia-cusparselt-cu13==0.8.0 nvidia-nvshmem-cu13==3.4.5 nvidia-cufile==1.15.1.6)
readonly TOOLS=(clang-format==23.1.5 clang-tidy==23.1.4)
readonly NEEDED_MIB=3000  # the wheels and what they unpack to

say() { echo "set-up: $*"; }
fail() {
  echo "set-up: $*" >&2
  exit 1
}

installed_package() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo -n true 2>/dev/null || say "sudo may ask for your password"
    sudo "$@"
  else
    fail "packages are missing and neither root nor sudo is at hand. As root: apt-get install ${missing[*]}"
  fi
}

install_packages() {
  command -v dpkg-query >/dev/null ||
    fail "this is not Debian or a relative of it. Install what these packages hold, then build as README.md says:" \
      "${PACKAGES[*]}"
  missing=()
  local package
  for package in "${PACKAGES[@]}"; do
    installed_package "$package" || missing+=("$package")
  done
  if [ ${#missing[@]} = 0 ]; then
    say "all ${#PACKAGES[@]} Debian packages are there"
    return
  fi
  say "installing Debian packages: ${missing[*]}"
  as_root apt-get update -qq || say "apt-get update failed; trying with the package lists that are there"
  if ! as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" \
    >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    for package in "${missing[@]}"; do
      apt-cache show "$package" >/dev/null 2>&1 || echo "set-up: no package $package in the sources of apt" >&2
    done
    fail "apt-get could not install: ${missing[*]}"
  fi
}

# Requirements of "$1" (a virtual environment) that are not there as they were delivered, each file with its size: what
# an interrupted installation leaves behind counts as missing.
missing_requirements() {
  "$1/bin/python" - "${@:2}" <<'END'
import importlib.metadata as metadata
import sys

def whole(name, version):
    try:
        distribution = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    files = distribution.files or []
    sizes = ((file.locate(), file.size) for file in files if file.size is not None)
    return distribution.version == version and bool(files) and all(
        path.is_file() and path.stat().st_size == size for path, size in sizes)

print(*(requirement for requirement in sys.argv[1:] if not whole(*requirement.split("=="))))
END
}

make_environment() {
  local python
  for python in python3 /usr/bin/python3; do
    rm -rf "$1"
    if "$python" -m venv "$1" >"$log" 2>&1; then return; fi
  done
  tail -n 20 "$log" >&2
  fail "python3 could not make a virtual environment in $1"
}

check_space() {
  local free
  free=$(df -Pm "$deps" | awk 'END {print $4}')
  [ "$free" -ge $NEEDED_MIB ] ||
    fail "$deps has $free MiB left, $NEEDED_MIB MiB are needed: free some, or name another folder by RONDO_DEPS"
}

# install_python ENVIRONMENT REQUIREMENT...
install_python() {
  local environment=$1 missing_names requirement
  shift
  if ! "$environment/bin/python" -m pip --version >/dev/null 2>&1; then
    [ ! -e "$environment" ] || say "$environment is not whole: made again"
    make_environment "$environment"
  fi
  missing_names=$(missing_requirements "$environment" "$@")
  if [ -z "$missing_names" ]; then
    say "$* are there"
    return
  fi
  check_space
  for requirement in $missing_names; do
    say "installing $requirement into $environment"
    if ! "$environment/bin/python" -m pip install --disable-pip-version-check --no-input --quiet --no-deps \
      --force-reinstall "$requirement" >"$log" 2>&1; then
      tail -n 20 "$log" >&2
      fail "pip could not install $requirement"
    fi
  done
  missing_names=$(missing_requirements "$environment" "$@")
  [ -z "$missing_names" ] || fail "installed, but not whole: $missing_names"
}

have_cuda_toolkit() { command -v nvcc >/dev/null || [ -x /usr/local/cuda/bin/nvcc ]; }

cuda=yes
tools=no
for argument in "$@"; do
  case $argument in
    --no-cuda) cuda=no ;;
    --tools) tools=yes ;;
    -h | --help)
      usage
      exit 0
      ;;
    *)
      usage >&2
      fail "unknown argument $argument"
      ;;
  esac
done

if [ $cuda = yes ] && ! have_cuda_toolkit; then
  say "no CUDA toolkit found: a build for CPUs"
  cuda=no
fi
deps=${RONDO_DEPS:-${XDG_CACHE_HOME:-$HOME/.cache}/rondo}
mkdir -p "$deps"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
install_packages
exec 9>"$deps/.setup.lock"
flock 9 # Two set-ups at once: the second finds everything done.
requirements=("${TORCH_CPU[@]}")
[ $cuda = no ] || requirements+=("${TORCH_CUDA[@]}")
install_python "$deps/torch-$TORCH" "${requirements[@]}"
[ $tools = no ] || install_python "$deps/tools" "${TOOLS[@]}"
say "done in $SECONDS s; torch $TORCH is in $deps/torch-$TORCH, CUDA: $cuda"
