#!/usr/bin/env bash
# Client libraries that look up their master at Redis Sentinel, each with a program that writes through it (tests/face/clients).
#
#   clients.sh DIR      then: DIR/bin/redis-py, DIR/bin/ioredis, DIR/bin/node-redis, DIR/bin/go-redis, DIR/bin/jedis, DIR/bin/redis-rb
#
# Optional: a library whose language is missing is skipped, and the test says which it has.
set -euo pipefail
mkdir -p "$1/bin"
dir=$(cd "$1" && pwd)
cd "$(dirname "$0")/../face/clients"

# A stamp for what was made from these files.
stamp() { echo "$dir/.$1-$(cat "${@:2}" | git hash-object --stdin)"; }
launcher() { printf '#!/bin/sh\nexec %s "$@"\n' "$2" >"$dir/bin/$1" && chmod +x "$dir/bin/$1"; }
has() { command -v "$1" >/dev/null || { echo "skipped: $2: $1 is missing"; return 1; }; }

python() {
  python3 -m venv "$dir/venv" &&
    "$dir/venv/bin/pip" install --quiet --disable-pip-version-check --requirement requirements.txt &&
    launcher redis-py "'$dir/venv/bin/python' '$PWD/redis-py.py'"
}

node() {
  mkdir -p "$dir/node" && cp package.json package-lock.json ./*.mjs "$dir/node" &&
    (cd "$dir/node" && npm ci --silent --no-audit --no-fund) &&
    launcher ioredis "node '$dir/node/ioredis.mjs'" && launcher node-redis "node '$dir/node/node-redis.mjs'"
}

go_redis() {
  (cd go && go build -o "$dir/go-redis" .) && launcher go-redis "'$dir/go-redis'"
}

jedis() {
  mvn --quiet --batch-mode -f java/pom.xml -DbuildDirectory="$dir/java" compile \
    dependency:copy-dependencies -DoutputDirectory="$dir/java/lib" &&
    launcher jedis "java -XX:TieredStopAtLevel=1 -cp '$dir/java/lib/*:$dir/java/classes' Jedis"
}

redis_rb() {
  ruby -e 'require "redis"' && launcher redis-rb "ruby '$PWD/redis-rb.rb'"
}

# make PART TOOL LIBRARIES FILES…: unless it is made already, or its language is missing.
make() {
  local made
  made=$(stamp "$1" "${@:4}")
  [ ! -e "$made" ] && has "$2" "$3" || return 0
  if "$1"; then touch "$made"; else echo "skipped: $3: not installed, see above"; fi
}

make python python3 redis-py requirements.txt redis-py.py
make node npm "ioredis, node-redis" package-lock.json ioredis.mjs node-redis.mjs
make go_redis go go-redis go/go.mod go/go.sum go/main.go
make jedis mvn jedis java/pom.xml java/Jedis.java
make redis_rb ruby redis-rb redis-rb.rb
