"""Sends known events of every kind with Debian's python3-aiodogstatsd: send_aio.py HOST PORT N."""
import asyncio
import sys

import aiodogstatsd

host, port, n = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])


async def main():
    async with aiodogstatsd.Client(host=host, port=port, namespace="aio", constant_tags={"app": "shop"}) as client:
        for i in range(1, n + 1):
            tags = {"env": "dev" if i % 2 else "prod", "region": "eu"}
            client.increment("sum", value=i, tags=tags)
            client.decrement("stock", value=2)
            client.gauge("level", value=i - 0.5, tags=tags)
            client.histogram("histogram", value=i, tags=tags)
            client.distribution("distribution", value=i)
            client.timing("timing", value=i, tags=tags)
            if i % 100 == 0:
                await asyncio.sleep(0)  # what waits is sent by another task


asyncio.run(main())
