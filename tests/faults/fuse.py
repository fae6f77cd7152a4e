"""A filesystem of one file, some of whose pages have gone bad: ``fuse.py DIRECTORY``.

It speaks to /dev/fuse itself, see fuse(4) and linux/fuse.h. What fails is read from
DIRECTORY.fails at every request, so it can be changed at any time: one failure a line,
``read 2`` and ``write 2`` for a page, ``fsync`` for the file: EIO. With ``mmap`` the file
is opened past the page cache, and cannot be mapped. ``room 8`` is a disk of eight pages,
``inode 7`` is the file's number, and ``written 9`` when it was, in seconds. What reads
page 2 waits while there is ``hold 2``, and with ``leave 2`` the server goes away then. The
file begins with the bytes of DIRECTORY.content. It serves until it is unmounted.
"""

import ctypes
import errno
import os
import stat
import struct
import sys
import time
from pathlib import Path

PAGE = os.sysconf("SC_PAGESIZE")
ROOT, FILE = 1, 2
FORGET, INTERRUPT, BATCH_FORGET = 2, 36, 42
SET_SIZE = 1 << 3
DIRECT_IO, KEEP_CACHE = 1 << 0, 1 << 1

content = bytearray()
fails = Path()


def failing(operation, offset=0, size=0):
    """Whether the request touches what is to fail."""
    pages = range(offset // PAGE, (offset + size + PAGE - 1) // PAGE)
    bad = [f"{operation} {page}" for page in pages] or [operation]
    return not set(bad).isdisjoint(fails.read_text().splitlines())


def told(what, otherwise):
    """Return the number that is told of something."""
    lines = [line.split() for line in fails.read_text().splitlines()]
    return next((int(line[1]) for line in lines if line[0] == what), otherwise)


def room():
    """Bytes that the file may have."""
    return told("room", 1 << 50) * PAGE


def attributes(node):
    size, mode = (len(content), stat.S_IFREG) if node == FILE else (0, stat.S_IFDIR)
    times = (told("written", 0),) * 3 + (0,) * 3
    inode = told("inode", node) if node == FILE else node
    return struct.pack(
        "6Q10I", inode, size, -(-size // 512), *times, mode | 0o777, 1, 0, 0, 0, PAGE, 0
    )


def initialise(node, body):
    major, background, no_readahead = 7, 12, 0
    return struct.pack("4I2HI", major, 19, no_readahead, 0, background, 9, 1 << 16)


def look_up(node, body):
    if body != b"file\0":
        raise OSError(errno.ENOENT, "there is only one file")
    return struct.pack("4Q2I", FILE, 0, 0, 0, 0, 0) + attributes(FILE)


def get_attributes(node, body):
    return struct.pack("Q2I", 0, 0, 0) + attributes(node)


def set_attributes(node, body):
    valid, _, size = struct.unpack_from("=QQQ", body)
    if valid & SET_SIZE:
        content[size:] = bytes(max(0, size - len(content)))
    return get_attributes(node, body)


def open_file(node, body):
    return struct.pack("Q2I", 0, DIRECT_IO if failing("mmap") else KEEP_CACHE, 0)


def read(node, body):
    _, offset, size = struct.unpack_from("=QQI", body)
    for _ in range(10_000):  # it must end, or the filesystem could not be unmounted
        if not failing("hold", offset, size):
            break
        time.sleep(0.001)
    if failing("leave", offset, size):
        sys.exit()
    if failing("read", offset, size):
        raise OSError(errno.EIO, "bad page")
    return bytes(content[offset : offset + size])


def write(node, body):
    _, offset, size = struct.unpack_from("=QQI", body)
    if failing("write", offset, size):
        raise OSError(errno.EIO, "bad page")
    if offset + size > room():
        raise OSError(errno.ENOSPC, "full disk")
    content[len(content) :] = bytes(max(0, offset - len(content)))
    content[offset : offset + size] = body[-size:]
    return struct.pack("2I", size, 0)


def fsync(node, body):
    if failing("fsync"):
        raise OSError(errno.EIO, "bad disk")
    return b""


def tell_room(node, body):
    room = (1 << 30,) * 3
    return struct.pack("5Q10I", *room, 1, 0, PAGE, 255, PAGE, *(0,) * 7)


def nothing(node, body):
    return b""


OPERATIONS = {
    1: look_up,
    3: get_attributes,
    4: set_attributes,
    14: open_file,
    15: read,
    16: write,
    17: tell_room,
    18: nothing,  # release
    20: fsync,
    25: nothing,  # flush
    26: initialise,
    27: open_file,  # a directory
    28: nothing,  # which is empty to those who list it
    29: nothing,
    30: nothing,  # its fsync
}


def answer(opcode, node, body):
    """Return the reply to a request: a negative errno value or 0, and the data."""
    try:
        return 0, OPERATIONS[opcode](node, body)
    except KeyError:
        return -errno.ENOSYS, b""
    except OSError as error:
        return -error.errno, b""


def serve(device):
    while True:
        request = os.read(device, 1 << 18)
        _, opcode, unique, node = struct.unpack_from("=IIQQ", request)
        if opcode not in (FORGET, INTERRUPT, BATCH_FORGET):
            error, data = answer(opcode, node, request[40:])
            os.write(device, struct.pack("IiQ", 16 + len(data), error, unique) + data)


def mount(device, directory):
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"bad", directory.encode(), b"fuse", 0, options.encode()):
        sys.exit("mount: " + os.strerror(ctypes.get_errno()))


def main(directory):
    global fails
    fails = Path(directory + ".fails")
    content[:] = Path(directory + ".content").read_bytes()
    device = os.open("/dev/fuse", os.O_RDWR)
    mount(device, directory)
    print("mounted", flush=True)
    try:
        serve(device)
    except OSError as error:
        if error.errno != errno.ENODEV:  # unmounted
            raise


if __name__ == "__main__":
    main(*sys.argv[1:])
