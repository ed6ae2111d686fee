# What the comparisons with Python peers share; to be sourced. Wants: program (its name, for messages), bin, peers,
# environment, log, and only (an array).

# Ends the program when it or the peer's PROGRAM is missing; makes the peer's environment where there is none.
prepare_peers() {
  [ -x "$bin" ] || { echo "$program: no $bin; build it or give --bin" >&2; exit 78; }
  [ -f "$peers/$1" ] || { echo "$program: no $1 in $peers; give --peers" >&2; exit 78; }
  [ -f "$environment/activate" ] || bash "$peers/setup.sh" "$environment"
  mkdir -p "$(dirname "$log")"
}

# figure NAME: that member of the RESULT line on stdin, which goes to the log.
figure() {
  local line
  line=$(grep '^RESULT ') || { echo "$program: a run ended without a result; see $log.errors" >&2; return 1; }
  echo "$line" >> "$log"
  sed 's/.*"'"$1"'": *\([0-9.]*\).*/\1/' <<< "$line"
}

larger() { awk -v a="$1" -v b="$2" 'BEGIN { print (a > b) ? a : b }'; }

# Is the case NAME among those asked for?
wanted() {
  local name
  [ ${#only[@]} -gt 0 ] || return 0
  for name in "${only[@]}"; do [ "$name" != "$1" ] || return 0; done
  return 1
}
