#!/usr/bin/env bash
# Client libraries that look up their master at Redis Sentinel, each with a program that writes through it (tests/face/clients).
#
#   clients.sh DIR      then: DIR/bin/redis-py, DIR/bin/ioredis, DIR/bin/node-redis, DIR/bin/go-redis, DIR/bin/jedis
#
# Optional: a library whose language is missing is skipped, and the test says which it has.
set -euo pipefail
mkdir -p "$1/bin"
dir=$(cd "$1" && pwd)
cd "$(dirname "$0")/../face/clients"

# made NAME FILES…: whether NAME was made from these files; notes it when the part has ended well.
stamp() { echo "$dir/.$1-$(cat "${@:2}" | git hash-object --stdin)"; }
launcher() { printf '#!/bin/sh\nexec %s "$@"\n' "$2" >"$dir/bin/$1"; chmod +x "$dir/bin/$1"; }
has() { command -v "$1" >/dev/null || { echo "skipped: $2: $1 is missing"; return 1; }; }

made=$(stamp python requirements.txt redis-py.py)
if [ ! -e "$made" ] && has python3 redis-py; then
  python3 -m venv "$dir/venv"
  "$dir/venv/bin/pip" install --quiet --disable-pip-version-check --requirement requirements.txt
  launcher redis-py "'$dir/venv/bin/python' '$PWD/redis-py.py'"
  touch "$made"
fi

made=$(stamp node package-lock.json ioredis.mjs node-redis.mjs)
if [ ! -e "$made" ] && has npm "ioredis, node-redis"; then
  mkdir -p "$dir/node"
  cp package.json package-lock.json ./*.mjs "$dir/node"
  (cd "$dir/node" && npm ci --silent --no-audit --no-fund)
  launcher ioredis "node '$dir/node/ioredis.mjs'"
  launcher node-redis "node '$dir/node/node-redis.mjs'"
  touch "$made"
fi

made=$(stamp go go/go.mod go/go.sum go/main.go)
if [ ! -e "$made" ] && has go go-redis; then
  (cd go && go build -o "$dir/go-redis" .)
  launcher go-redis "'$dir/go-redis'"
  touch "$made"
fi

made=$(stamp java java/pom.xml java/Jedis.java)
if [ ! -e "$made" ] && has mvn jedis; then
  mvn --quiet --batch-mode -f java/pom.xml -DbuildDirectory="$dir/java" compile \
    dependency:copy-dependencies -DoutputDirectory="$dir/java/lib"
  launcher jedis "java -XX:TieredStopAtLevel=1 -cp '$dir/java/lib/*:$dir/java/classes' Jedis"
  touch "$made"
fi
