"""Files that are to be known again, on filesystems that make that hard."""

import pickle

import lab
import numpy as np
import pytest

import yammap

pytestmark = pytest.mark.no_sanitizer


def sent(path):
    return pickle.dumps(yammap.MappedArray(path, np.int64)).hex()


def test_two_fresh_tmpfs_whose_first_files_have_one_inode(tmp_path, faulty):
    """As in two containers, of which each has a /dev/shm of its own."""
    with lab.tmpfs(tmp_path / "shm", lab.MIB) as directory:
        np.arange(10).tofile(directory / "first")
        inode = (directory / "first").stat().st_ino
        handle = sent(directory / "first")
    with lab.tmpfs(tmp_path / "shm", lab.MIB) as directory:
        np.arange(10, 20).tofile(directory / "first")
        assert (directory / "first").stat().st_ino == inode
        faulty(f"""
            import pickle
            handle = pickle.loads(bytes.fromhex({handle!r}))
            error = raised(OSError, lambda: handle[0])
            assert error.errno == errno.ESTALE and "of another filesystem" in str(error)
        """)


def test_the_first_write_on_overlayfs_makes_no_handle_stale(tmp_path, faulty):
    """It copies the file to the upper layer, where its time of birth is another."""
    lower, upper, work = (tmp_path / name for name in ("lower", "upper", "work"))
    for directory in (lower, upper, work):
        directory.mkdir()
    np.arange(10).tofile(lower / "file")
    layers = f"lowerdir={lower},upperdir={upper},workdir={work}"
    with lab.mounted(tmp_path / "merged", "-t", "overlay", "-o", layers, "none") as merged:
        handle = sent(merged / "file")
        with open(merged / "file", "r+b") as file:
            file.write(b"\7")
        assert (upper / "file").exists()
        faulty(f"""
            import pickle
            assert pickle.loads(bytes.fromhex({handle!r}))[:2].tolist() == [7, 1]
        """)
