#!/usr/bin/env bash
# 5,000 WebSocket clients connect, echo and receive broadcasts through the `bench` suite, on both drivers, with 1 and 3
# shards. `drive` checks every message and exits with 1 if one was lost, repeated, reordered or changed.
# Usage: load.sh CONFORMANCE DRIVE
set -uo pipefail
server=$1 drive=$2 passed=0 failed=0
ready=$(mktemp)
trap 'rm -f "$ready"; [ -n "${pid:-}" ] && kill "$pid" 2>/dev/null' EXIT

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

for driver in uring epoll; do
  for shards in 1 3; do
    port=$(free_port)
    : >"$ready" # Here, and not by the server's redirection alone: what the one before said must not be taken for its word.
    "$server" bench --port "$port" --shards "$shards" --driver "$driver" >"$ready" 2>&1 &
    pid=$!
    for _ in $(seq 300); do grep -q ready "$ready" && break; sleep 0.1; done
    for scenario in "connect --clients 5000" "echo --clients 5000" "ack --clients 5000" "broadcast --clients 5000 --in-flight 2" \
      "rooms --clients 2000 --rooms 200" "bin --clients 100 --size 65536"; do
      name="$driver, $shards shards: $scenario"
      # shellcheck disable=SC2086
      if output=$("$drive" $scenario --port "$port" --pid "$pid" --seconds 1 --stall 30 2>&1); then
        passed=$((passed + 1))
        echo "ok: $name"
      else
        failed=$((failed + 1))
        printf 'FAILED: %s\n%s\n' "$name" "$output"
        cat "$ready"
      fi
    done
    kill "$pid"
    wait "$pid" || { failed=$((failed + 1)); echo "FAILED: $driver, $shards shards: the server ended with $?"; }
    pid=
  done
done
echo "load: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
