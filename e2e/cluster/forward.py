"""A way into the cluster's network: a loopback port here, a connection inside a namespace there.

    python3 forward.py --namespace /run/netns/N --listen 127.0.0.1:0 --to 10.96.0.1:443 --port-file F

A socket belongs to the namespace in which it was made: the listener is made first, then the process
enters the namespace for good, and what it connects to lies there. Nothing inside can use it to get
out. It stands alone, because it runs as a process of the cluster.
"""

import argparse
import asyncio
import ctypes
import os
import pathlib
import socket
import sys

CLONE_NEWNET = 0x40000000
CHUNK_BYTES = 64 * 1024
CONNECTIONS_MAX = 512
CONNECT_SECONDS = 10


def enter(namespace: str) -> None:
    """Moves this process into a network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(descriptor, CLONE_NEWNET) != 0:
            error = ctypes.get_errno()
            raise OSError(error, f"enter {namespace}: {os.strerror(error)}")
    finally:
        os.close(descriptor)


def address(text: str) -> tuple:
    host, _, port = text.rpartition(":")
    return host, int(port)


async def pump(reader, writer) -> None:
    """Copies one direction and hands its end on."""
    try:
        while chunk := await reader.read(CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.close()


async def serve(listener, target: tuple) -> None:
    slots = asyncio.Semaphore(CONNECTIONS_MAX)

    async def connection(reader, writer):
        async with slots:
            try:
                opening = asyncio.open_connection(*target)
                far_reader, far_writer = await asyncio.wait_for(opening, CONNECT_SECONDS)
            except (OSError, asyncio.TimeoutError):
                writer.close()
                return
            try:
                await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))
            finally:
                writer.close()
                far_writer.close()

    async with await asyncio.start_server(connection, sock=listener) as server:
        await server.serve_forever()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--listen", default="127.0.0.1:0", type=address)
    parser.add_argument("--to", required=True, type=address)
    parser.add_argument("--port-file", type=pathlib.Path, required=True)
    options = parser.parse_args()
    if not options.listen[0].startswith("127."):
        print(f"listen address {options.listen[0]}: loopback only", file=sys.stderr)
        return 2
    listener = socket.create_server(options.listen)
    enter(options.namespace)
    scratch = options.port_file.with_suffix(".new")
    scratch.write_text(f"{listener.getsockname()[1]}\n")
    scratch.rename(options.port_file)
    asyncio.run(serve(listener, options.to))
    return 0


if __name__ == "__main__":
    sys.exit(main())
