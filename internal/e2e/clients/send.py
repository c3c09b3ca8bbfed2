"""Sends known counts with Debian's python3-statsd: send.py HOST PORT N."""
import sys

import statsd

host, port, n = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
client = statsd.StatsClient(host, port, prefix="py")
for i in range(n):
    client.incr("hits")
    client.incr("sum", i)
    client.decr("stock", 2)

with client.pipeline() as pipe:
    for _ in range(n):
        pipe.incr("piped")
    pipe.decr("piped", 3)

with statsd.StatsClient(host, port, prefix="py", maxudpsize=60000).pipeline() as pipe:
    for _ in range(n):
        pipe.incr("large", 4)
