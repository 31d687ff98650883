#!/usr/bin/python3 -B
# SPDX-License-Identifier: GPL-2.0-only
"""traffic: clients that count. One process makes many connections and tells in JSON what came of
them, so that a test compares numbers instead of reading output.

Every verb prints one JSON object with `answers` (how often each backend answered) and `errors` (a
sentence for everything that went wrong; empty is what tests ask for).

    get URL --count N --concurrency C      N connections with one request each; also `sha256`
    load URL --concurrency C --pause S     the same until standard input ends
    hold HOST PORT --count N               N connections on which bytes go back and forth until
                                           standard input ends; also `rounds`, the least of them
    udp HOST PORT --count N --rounds R     N sockets sending R datagrams each, one at a time

`load` and `hold` print "running" when all is established; a line on standard input makes them print
what they have counted up to then.
"""
import argparse
import asyncio
import collections
import hashlib
import json
import socket
import sys
import urllib.parse

REQUEST_TIMEOUT_S = 20
UDP_TIMEOUT_S = 2


class Tally:
    def __init__(self):
        self.answers = collections.Counter()
        self.digests = collections.Counter()
        self.errors = []

    def report(self, **more):
        result = {"answers": self.answers, "errors": self.errors[:20]}
        print(json.dumps({**result, "failed": len(self.errors), **more}), flush=True)


async def fetch(host, port, path):
    """One connection, one request; returns the head's fields and the body."""
    reader, writer = await asyncio.open_connection(host, port, limit=1 << 20)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status, *lines = head.rstrip().split("\r\n")
        fields = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}
        if " 200 " not in status:
            raise ValueError(f"answered {status}")
        body = await reader.read()
        if "content-length" in fields:
            while len(body) < int(fields["content-length"]):
                more = await reader.read(1 << 20)
                if not more:
                    raise ValueError(f"body ended after {len(body)} bytes")
                body += more
        return fields, body
    finally:
        writer.close()


async def one(tally, target):
    try:
        fields, body = await asyncio.wait_for(fetch(*target), REQUEST_TIMEOUT_S)
    except (OSError, ValueError, EOFError, asyncio.TimeoutError) as error:
        tally.errors.append(f"{type(error).__name__}: {error}")
        return
    tally.answers[fields["x-served-by"]] += 1
    tally.digests[hashlib.sha256(body).hexdigest()] += 1


def target_of(url):
    parts = urllib.parse.urlsplit(url)
    return parts.hostname, parts.port or 80, parts.path or "/"


async def get(options):
    tally = Tally()
    target = target_of(options.url)
    left = iter(range(options.count))

    async def worker():
        for _ in left:
            await one(tally, target)

    await asyncio.gather(*(worker() for _ in range(options.concurrency)))
    tally.report(sha256=tally.digests)


async def until_input_ends(report):
    """Lets a test ask for numbers now (a line), or for the end (no more input)."""
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    while await reader.readline():
        report()


async def load(options):
    tally = Tally()
    target = target_of(options.url)
    ended = False

    async def worker():
        while not ended:
            await one(tally, target)
            await asyncio.sleep(options.pause)

    workers = [asyncio.create_task(worker()) for _ in range(options.concurrency)]
    print("running", flush=True)
    await until_input_ends(tally.report)
    ended = True
    await asyncio.gather(*workers)
    tally.report()


async def hold(options):
    tally = Tally()
    rounds = [0] * options.count
    ended = False
    streams = await asyncio.gather(
        *(asyncio.open_connection(options.host, options.port) for _ in range(options.count))
    )

    async def pingpong(number, reader, writer):
        try:
            while not ended:
                message = f"{number:06}{rounds[number]:010}".encode()
                writer.write(message)
                answer = await asyncio.wait_for(
                    reader.readexactly(len(message)), REQUEST_TIMEOUT_S
                )
                if answer != message:
                    raise ValueError(f"sent {message}, got {answer}")
                rounds[number] += 1
                await asyncio.sleep(options.pause)
        except (OSError, ValueError, EOFError, asyncio.TimeoutError) as error:
            tally.errors.append(f"connection {number}: {type(error).__name__}: {error}")
        finally:
            writer.close()

    tasks = [asyncio.create_task(pingpong(i, *stream)) for i, stream in enumerate(streams)]
    print("running", flush=True)
    await until_input_ends(lambda: tally.report(rounds=min(rounds)))
    ended = True
    await asyncio.gather(*tasks)
    tally.report(rounds=min(rounds))


class Udp(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.received = asyncio.Queue()

    def datagram_received(self, data, peer):
        self.received.put_nowait(data)

    def error_received(self, error):
        self.received.put_nowait(error)


async def udp(options):
    """A socket that is connected takes answers from the address it sends to only."""
    tally = Tally()
    payload = b"x" * options.size
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET

    async def talk(number):
        transport, protocol = await loop.create_datagram_endpoint(
            Udp, remote_addr=(options.host, options.port), family=family
        )
        names = set()
        try:
            for turn in range(options.rounds):
                message = f"{number}.{turn} ".encode() + payload
                transport.sendto(message)
                answer = await asyncio.wait_for(protocol.received.get(), UDP_TIMEOUT_S)
                if isinstance(answer, OSError):
                    raise answer
                name, _, echoed = answer.partition(b" ")
                if echoed != message:
                    raise ValueError(f"sent {message[:20]}, got {echoed[:20]}")
                names.add(name.decode())
                tally.answers[name.decode()] += 1
            if len(names) > 1:
                raise ValueError(f"one flow answered by {sorted(names)}")
        except (OSError, ValueError, asyncio.TimeoutError) as error:
            tally.errors.append(f"socket {number}: {type(error).__name__}: {error}")
        finally:
            transport.close()

    for first in range(0, options.count, options.concurrency):
        last = min(first + options.concurrency, options.count)
        await asyncio.gather(*(talk(number) for number in range(first, last)))
    tally.report()


def main():
    parser = argparse.ArgumentParser(description="clients that count")
    verbs = parser.add_subparsers(required=True)

    def verb(function, *arguments):
        sub = verbs.add_parser(function.__name__)
        for argument in arguments:
            sub.add_argument(argument, **({"type": int} if argument == "port" else {}))
        sub.add_argument("--count", type=int, default=1)
        sub.add_argument("--concurrency", type=int, default=50)
        sub.add_argument("--pause", type=float, default=0.01)
        sub.add_argument("--rounds", type=int, default=1)
        sub.add_argument("--size", type=int, default=0)
        sub.set_defaults(function=function)

    verb(get, "url")
    verb(load, "url")
    verb(hold, "host", "port")
    verb(udp, "host", "port")
    options = parser.parse_args()
    asyncio.run(options.function(options))


if __name__ == "__main__":
    main()
