"""What yammap promises beside its peers: peers.py measures it."""

import re

import peers
import pytest

pytestmark = pytest.mark.no_sanitizer

KEPT = r"BusError E(FAULT|NOSPC|IO)|OSError E(NOSPC|NOMEM, names it)|right data|maps$"
BROKEN = "dies|hangs|exit|silent|wrong|no error"

# A handler that comes later is noticed by calls: until then it has the signal. The rest of
# a file's last page is zeros that the kernel supplies.
UNNOTICED = {"faulthandler_copy_at_once", "faulthandler_old_view", "handler_old_view"}
UNNOTICED |= {"cut_inside_read", "cut_inside_write"}


@pytest.mark.parametrize("name", [name for name in peers.CASES if name not in UNNOTICED])
def test_yammap_keeps_its_promises(name):
    what = peers.measured(name, "yammap")
    if what.startswith("not tried"):
        pytest.skip(what)
    assert re.match(KEPT, what), what
    assert not re.search(BROKEN, what), what


def test_a_peer_that_dies_is_seen_to():
    assert peers.measured("cut_read_copy", "mmap") == "dies (SIGBUS)"


def test_a_call_that_a_peer_lacks_is_said_to_be():
    assert peers.measured("atomic", "mmap") == "not offered"


def test_data_that_is_lost_is_seen_to_be():
    assert peers.seen(bytes(4), b"data") == "silent zeros"
    assert peers.seen(b"dat4", b"data") == "wrong data"
    assert peers.seen(b"data", b"data") == "right data"
