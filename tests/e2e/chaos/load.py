#!/usr/bin/python3 -B
# SPDX-License-Identifier: GPL-2.0-only
"""load: the oracle: clients of every kind through VIPs, each reply compared with what it must be.

    load.py TARGETS    TARGETS: JSON, a list of {"host", "http", "echo", "udp"}, one per VIP

It runs in the lab's client. For each VIP there are

    requests    a connection for each; the bytes of /bytes/N, all compared
    queries     UDP: a socket for each, asked again every 250 ms as a resolver does
    downloads   2 MB read slowly, some seconds each
    holds       TCP connections on which bytes go back and forth all the time
    streams     UDP flows that last; always the same backend must answer

A failure is a reset, an end of the connection, wrong bytes, a flow answered by another backend than before, or
no answer within PATIENCE_S. What was late, or had to be asked again, is counted and not a failure: when a
cable is pulled, packets are lost.

A line on standard input makes it print the counts as JSON, with an end of input it ends. SIGINT is ignored: the
walk ends it.
"""
import asyncio
import collections
import json
import random
import signal
import socket
import sys
import time

PATIENCE_S = 40  # after some outages in a row TCP waits long before it tries again
LATE_S = 0.9  # below TCP's first retransmission of a SYN
ASK_AGAIN_S = 0.25
SIZES = (1, 700, 20_000)
DOWNLOAD_BYTES = 2_000_000
REQUEST_WORKERS, QUERY_WORKERS, DOWNLOADS, HOLDS, STREAMS = 8, 2, 2, 5, 5


class Oracle:
    def __init__(self):
        self.counts = collections.Counter()
        self.answers = collections.Counter()
        self.errors = []
        self.worst_s = 0.0
        self.began = time.time()
        self.ended = False
        self.bodies = {n: random.Random(n).randbytes(n) for n in (*SIZES, DOWNLOAD_BYTES)}

    def fail(self, kind, where, error):
        at = f"{time.time():.2f}"
        self.errors.append(f"{at} {kind} {where}: {type(error).__name__}: {error}")

    def done(self, kind, seconds):
        self.counts[kind] += 1
        self.worst_s = max(self.worst_s, seconds)
        if seconds > LATE_S:
            self.counts["late"] += 1

    def report(self):
        totals = {"failed": len(self.errors), "errors": self.errors[:20]}
        counts = {"counts": self.counts, "answers": self.answers}
        print(json.dumps({**totals, **counts, "worst_s": round(self.worst_s, 3)}), flush=True)


async def fetch(oracle, host, port, size, pause_s=0.0):
    """One connection, one request; every byte of the answer is compared."""
    reader, writer = await asyncio.open_connection(host, port, limit=1 << 16)
    try:
        head = f"GET /bytes/{size} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode())
        status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        if " 200 " not in status:
            raise ValueError(f"answered {status}")
        body = bytearray()
        while part := await reader.read(1 << 16):
            body += part
            if pause_s:
                await asyncio.sleep(pause_s)
        if body != oracle.bodies[size]:
            raise ValueError(f"{len(body)} bytes of {size}, or not the right ones")
        return next(line[13:].strip() for line in lines if line.startswith("X-Served-By:"))
    finally:
        writer.close()


async def request_worker(oracle, target):
    turn = 0
    while not oracle.ended:
        began = time.monotonic()
        turn += 1
        try:
            size = SIZES[0 if turn % 8 else turn // 8 % len(SIZES)]
            fetched = fetch(oracle, target["host"], target["http"], size)
            oracle.answers[await asyncio.wait_for(fetched, PATIENCE_S)] += 1
            oracle.done("requests", time.monotonic() - began)
        except (OSError, ValueError, EOFError, asyncio.TimeoutError) as error:
            oracle.fail("request", target["host"], error)
        await asyncio.sleep(0.005)


async def download_worker(oracle, target):
    while not oracle.ended:
        try:
            await asyncio.wait_for(
                fetch(oracle, target["host"], target["http"], DOWNLOAD_BYTES, 0.05),
                2 * PATIENCE_S,
            )
            oracle.counts["downloads"] += 1
        except (OSError, ValueError, EOFError, asyncio.TimeoutError) as error:
            oracle.fail("download", target["host"], error)


async def hold_worker(oracle, target):
    while not oracle.ended:
        writer = None
        try:
            opened = asyncio.open_connection(target["host"], target["echo"])
            reader, writer = await asyncio.wait_for(opened, PATIENCE_S)
            turn = 0
            while not oracle.ended:
                turn += 1
                message = f"{turn:020}".encode()
                writer.write(message)
                answer = await asyncio.wait_for(reader.readexactly(len(message)), PATIENCE_S)
                if answer != message:
                    raise ValueError(f"sent {message}, got {answer}")
                oracle.counts["rounds"] += 1
                await asyncio.sleep(0.05)
        except (OSError, ValueError, EOFError, asyncio.TimeoutError) as error:
            oracle.fail("hold", target["host"], error)
            await asyncio.sleep(0.2)
        finally:
            if writer:
                writer.close()


class Datagrams(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.received = asyncio.Queue()

    def datagram_received(self, data, peer):
        self.received.put_nowait(data)

    def error_received(self, error):
        self.received.put_nowait(error)


async def socket_to(target):
    family = socket.AF_INET6 if ":" in target["host"] else socket.AF_INET
    return await asyncio.get_running_loop().create_datagram_endpoint(
        Datagrams, remote_addr=(target["host"], target["udp"]), family=family
    )


async def ask(oracle, transport, protocol, question):
    """The name of the backend that answered; asks again as a resolver does."""
    deadline = time.monotonic() + PATIENCE_S
    transport.sendto(question)
    while True:
        try:
            answer = await asyncio.wait_for(protocol.received.get(), ASK_AGAIN_S)
        except asyncio.TimeoutError:
            if time.monotonic() > deadline:
                raise
            oracle.counts["asked again"] += 1
            transport.sendto(question)
            continue
        if isinstance(answer, OSError):
            raise answer
        name, _, echoed = answer.partition(b" ")
        if echoed == question:
            return name.decode()
        if not echoed.startswith(question[:8]):  # else a late answer to the question before
            raise ValueError(f"sent {question}, got {echoed}")


async def query_worker(oracle, target, number):
    turn = 0
    while not oracle.ended:
        began = time.monotonic()
        turn += 1
        transport = None
        try:
            transport, protocol = await socket_to(target)
            question = f"q{number:06} {turn}".encode()
            oracle.answers[await ask(oracle, transport, protocol, question)] += 1
            oracle.done("queries", time.monotonic() - began)
        except (OSError, ValueError, asyncio.TimeoutError) as error:
            oracle.fail("query", target["host"], error)
        finally:
            if transport:
                transport.close()
        await asyncio.sleep(0.02)


async def stream_worker(oracle, target, number):
    transport, protocol = await socket_to(target)
    first = None
    turn = 0
    while not oracle.ended:
        turn += 1
        try:
            name = await ask(oracle, transport, protocol, f"s{number:06} {turn}".encode())
            first = first or name
            if name != first:
                was, first = first, name
                raise ValueError(f"the flow of {was} was answered by {name}")
            oracle.counts["datagrams"] += 1
        except (OSError, ValueError, asyncio.TimeoutError) as error:
            oracle.fail("stream", target["host"], error)
        await asyncio.sleep(0.1)
    transport.close()


async def run(targets):
    oracle = Oracle()
    workers = []
    for number, target in enumerate(targets):
        ids = range(1000 * number, 1000 * number + 1000)
        workers += [request_worker(oracle, target) for _ in range(REQUEST_WORKERS)]
        workers += [download_worker(oracle, target) for _ in range(DOWNLOADS)]
        workers += [hold_worker(oracle, target) for _ in range(HOLDS)]
        workers += [query_worker(oracle, target, ids[i]) for i in range(QUERY_WORKERS)]
        workers += [stream_worker(oracle, target, ids[i]) for i in range(STREAMS)]
    tasks = [asyncio.create_task(worker) for worker in workers]

    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    print("running", flush=True)
    while await reader.readline():
        oracle.report()
    oracle.ended = True
    _, stuck = await asyncio.wait(tasks, timeout=PATIENCE_S + 5)
    for task in stuck:
        oracle.fail("end", task.get_coro().__name__, asyncio.TimeoutError("does not end"))
        task.cancel()
    for task in tasks:
        if task.done() and task.exception():
            oracle.fail("bug", task.get_coro().__name__, task.exception())
    oracle.report()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(run(json.loads(sys.argv[1])))
