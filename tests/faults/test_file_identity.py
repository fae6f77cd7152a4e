"""Files that are to be known again, on filesystems that make that hard."""

import pickle
from pathlib import Path

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


LOADED = """
    import pickle
    handle = pickle.loads(bytes.fromhex({0!r}))
"""


@pytest.mark.parametrize(
    ("later", "is_known"),
    [
        (["inode 9", "written 5"], True),
        (["inode 9", "written 6"], False),  # it may be another file
        (["inode 7", "written 6"], True),
    ],
)
def test_a_server_of_fuse_that_numbers_files_anew(tmp_path, faulty, later, is_known):
    with lab.fuse(tmp_path / "first", "inode 7", "written 5") as filesystem:
        assert filesystem.path.stat().st_ino == 7
        handle = sent(filesystem.path)
    with lab.fuse(tmp_path / "first", *later):
        use = "assert handle[0] == 0x4141414141414141"
        if not is_known:
            use = "assert raised(OSError, lambda: handle[0]).errno == errno.ESTALE"
        faulty(LOADED.format(handle) + "    " + use)


def test_fat_makes_its_inodes_up(tmp_path, faulty):
    if "vfat" not in Path("/proc/filesystems").read_text():
        pytest.skip("this kernel has no vfat")
    with lab.loop(tmp_path / "disk", 4 * lab.MIB, "mkfs.vfat") as directory:
        for name in "abc":
            np.arange(10).tofile(directory / name)
        handle, before = sent(directory / "c"), (directory / "c").stat().st_ino
    image = lab.image_of(tmp_path / "disk")
    with lab.mounted(tmp_path / "disk", "-o", "loop", image) as directory:
        assert (directory / "c").stat().st_ino != before  # it is looked up first
        faulty(LOADED.format(handle) + "    assert handle[:2].tolist() == [0, 1]")


def test_a_copy_on_another_machine(tmp_path, faulty):
    """Two machines are two mount namespaces, of which each has a disk of its own."""
    data = tmp_path / "data"
    with lab.tmpfs(data, 8 * lab.MIB):
        np.arange(1 << 19).tofile(data / "file")
        handles = {
            way: pickle.dumps(yammap.MappedArray(data / "file", int, identity=way)).hex()
            for way in ("file", "sample", "content", "size", None)
        }
        for name, place in (("same", None), ("ends", 0), ("between", 5000)):
            faulty(
                f"""
                import ctypes, pickle, shutil, subprocess
                libc = ctypes.CDLL(None, use_errno=True)
                assert libc.unshare(0x20000) == 0
                subprocess.run(["mount", "--make-rprivate", "/"], check=True)
                data, copy = {str(data)!r}, {str(tmp_path / name)!r}
                os.mkdir(copy)
                shutil.copy(data + "/file", copy)
                subprocess.run(["mount", "-t", "tmpfs", "none", data], check=True)
                shutil.copy(copy + "/file", data)
                place = {place!r}
                if place is not None:
                    with open(data + "/file", "r+b") as file:
                        file.seek(place)
                        file.write(b"x")
                known = set()
                for way, sent in {handles!r}.items():
                    try:
                        assert pickle.loads(bytes.fromhex(sent))[5000] == 5000
                        known.add(way)
                    except OSError as error:
                        assert error.errno == errno.ESTALE
                expected = dict(
                    same={{"sample", "content", "size", None}},
                    ends={{"size", None}},
                    between={{"sample", "size", None}},
                )
                assert known == expected[{name!r}], known
                """
            )
