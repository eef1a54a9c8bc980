"""Writes through Sentinel with redis-py: one key after the other, each acknowledged one on a line of its own."""

import sys
import time

import redis
from redis.sentinel import Sentinel

endpoints, name, prefix, password = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4]
nodes = [(host, int(port)) for host, port in (place.rsplit(":", 1) for place in endpoints.split(","))]
sentinel = Sentinel(nodes, socket_timeout=0.5, sentinel_kwargs={"password": password or None, "socket_timeout": 0.5})
master = sentinel.master_for(name, socket_timeout=0.5)
number = 0
while True:
    number += 1
    key = f"{prefix}-{number}"
    try:
        if master.set(key, number):
            print(key, flush=True)
    except redis.RedisError:
        time.sleep(0.005)
    time.sleep(0.002)
