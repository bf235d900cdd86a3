"""A file is the earlier one or the new one, whenever a process is killed or a disk is full."""

import os
import signal
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integrations.disks import no_file_longer_than, output, python, small_disk
from torch_heads.integrations.atomic import (
    SUFFIX,
    remove_unfinished,
    replacing,
    replacing_folder,
)
from torch_heads.integrations.lock import alone

MEGABYTE = 2**20


def write(path: Path, content: bytes) -> None:
    with replacing(path) as file:
        file.write(content)


def test_the_new_takes_the_place_of_the_old_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with replacing(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert [*tmp_path.iterdir()] == [path]


def test_an_error_leaves_the_old(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), replacing(path) as file:
        file.write(b"new" * (1 // 0))
    assert path.read_bytes() == b"old"
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize("kind", ["limit", "mount"])
def test_a_full_disk_leaves_the_old(tmp_path: Path, kind: str) -> None:
    with ExitStack() as stack:
        if kind == "limit":
            stack.enter_context(no_file_longer_than(3 * MEGABYTE))
            folder = tmp_path
        else:
            folder = stack.enter_context(small_disk(tmp_path / "disk", 3 * MEGABYTE))
        path = folder / "file"
        write(path, b"1" * MEGABYTE)
        with pytest.raises(OSError, match=r"too large|No space") as failure:
            write(path, b"2" * 4 * MEGABYTE)
        assert failure.value.__notes__ == [f"{path} is as it was before."]
        assert path.read_bytes() == b"1" * MEGABYTE
        assert [*folder.iterdir()] == [path]
        write(path, b"3" * MEGABYTE)


def test_what_a_kill_left_is_removed_and_what_is_being_written_is_not(tmp_path: Path) -> None:
    left = tmp_path / f".other-1234{SUFFIX}"
    left.write_bytes(b"half")
    (tmp_path / ".hidden").touch()
    with replacing(tmp_path / "slow") as slow:
        slow.write(b"slow")
        write(tmp_path / "fast", b"fast")
        assert not left.exists()
    assert {path.name for path in tmp_path.iterdir()} == {".hidden", "fast", "slow"}
    remove_unfinished(tmp_path / "no such folder")


KILLED = """
import os, pathlib, signal, sys
from torch_heads.integrations import atomic
path, when = pathlib.Path(sys.argv[1]), sys.argv[2]
rename = pathlib.Path.rename
def killing(self, target):
    if when == "before" or self.name.endswith("-new"):
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(self, target)
pathlib.Path.rename = killing
with atomic.replacing_folder(path) as new:
    (new / "text").write_text("new")
    if when == "within":
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("when", ["within", "before", "between"])
def test_a_killed_folder_is_the_old_or_the_new_one(tmp_path: Path, when: str) -> None:
    path = tmp_path / "folder"
    with replacing_folder(path) as new:
        (new / "text").write_text("old")
    process = python(KILLED, path, when)
    assert not output(process)
    assert process.returncode == -signal.SIGKILL
    assert path.exists() == (when != "between")
    assert len([*tmp_path.iterdir()]) > 1
    with replacing_folder(tmp_path / "other") as other:
        (other / "text").write_text("other")
        with replacing_folder(tmp_path / "third"):  # which does not take the other for a leftover
            pass
    assert (tmp_path / "other" / "text").read_text() == "other"
    assert (path / "text").read_text() == ("new" if when == "between" else "old")
    assert {one.name for one in tmp_path.iterdir()} == {"folder", "other", "third"}


def test_a_link_goes_on_to_lead_to_the_folder(tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    (tmp_path / "live").symlink_to("first")
    with replacing_folder(tmp_path / "live") as new:
        (new / "text").write_text("new")
    assert (tmp_path / "live").is_symlink()
    assert (tmp_path / "first" / "text").read_text() == "new"
    assert {one.name for one in tmp_path.iterdir()} == {"first", "live"}


def test_writers_and_cleaners_side_by_side_do_not_hurt_one_another(tmp_path: Path) -> None:
    failed = []

    def work(content: bytes) -> None:
        try:
            for _ in range(100):
                write(tmp_path / "file", content * 1000)
        except OSError as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(content,)) for content in (b"a", b"b", b"c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert (tmp_path / "file").read_bytes() in [content * 1000 for content in (b"a", b"b", b"c")]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    thread = threading.Thread(target=write, args=(pipe, b"text"))
    thread.start()
    assert pipe.read_bytes() == b"text"
    thread.join()
    assert pipe.is_fifo()


def test_a_lock_is_held_once_and_freed(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    for _ in range(2):
        with alone(path, "refused"):
            with pytest.raises(ValueError, match="refused"), alone(path, "refused"):
                pass
            code = "import sys, pathlib; from torch_heads.integrations.lock import alone\n"
            code += "with alone(pathlib.Path(sys.argv[1]), 'one in another process'): pass"
    with alone(path, "refused"):
        assert "ValueError: one in another process" in output(python(code, path))


def test_a_kill_frees_the_lock_even_if_the_workers_of_a_loader_live_on(tmp_path: Path) -> None:
    code = """
import os, signal, sys, time
from pathlib import Path
from torch_heads.integrations.lock import alone
path, (reads, writes) = Path(sys.argv[1]), os.pipe()
if not (killed := os.fork()):
    with alone(path, "refused"):
        if not (worker := os.fork()):
            time.sleep(60)
        os.write(writes, worker.to_bytes(8))
        time.sleep(60)
worker = int.from_bytes(os.read(reads, 8))
try:
    with alone(path, "refused"):
        raise AssertionError("it was not locked")
except ValueError as error:
    print(error)
os.kill(killed, signal.SIGKILL)
os.waitpid(killed, 0)
with alone(path, "still refused"):
    print("free")
os.kill(worker, signal.SIGKILL)
"""
    assert output(python(code, tmp_path / ".lock")) == "refused\nfree\n"
