"""Sends known events of every kind with Debian's python3-statsd: send.py HOST PORT TCP N.

PORT is of a UDP and TCP of a TCP listener of the dialect etsy."""
import datetime
import sys

import statsd

host, port, tcp, n = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])


def every_kind(client):
    for i in range(1, n + 1):
        client.timing("timing", i)
        client.timing("delta", datetime.timedelta(milliseconds=i))
        client.set("set", "user%d" % (i % 100))
    client.gauge("level", 100)
    client.gauge("level", 20, delta=True)
    client.gauge("level", -50.5, delta=True)
    client.gauge("below", -3)  # as 0 and -3 in one datagram


client = statsd.StatsClient(host, port, prefix="py")
for i in range(n):
    client.incr("hits")
    client.incr("sum", i)
    client.decr("stock", 2)
every_kind(client)

with client.pipeline() as pipe:
    for _ in range(n):
        pipe.incr("piped")
    pipe.decr("piped", 3)

with statsd.StatsClient(host, port, prefix="py", maxudpsize=60000).pipeline() as pipe:
    for _ in range(n):
        pipe.incr("large", 4)

client = statsd.TCPStatsClient(host, tcp, prefix="pytcp")
every_kind(client)
with client.pipeline() as pipe:
    for i in range(n):
        pipe.incr("sum", i)
client.close()
