"""Rows of a long run: written block by block, safe when it is killed, the same whatever the blocks."""

from __future__ import annotations

import errno
import gc
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from npsubpix._tables import pieces
from npsubpix.io import OutputError, read_table, write_table
from npsubpix.movies.outputs import open_output

ENDINGS = {".csv": None, ".parquet": "pyarrow", ".h5": "h5py", ".ecsv": "astropy", ".fits": "astropy", "": "pyarrow"}
STATE = {"source": {"path": "movie.tif", "size": 10}, "options": {"threshold_abs": 3.0, "size": [3, 3]}}


def rows(first, last, per_frame=3):
    """Columns of the frames first <= n < last, as tables of peaks have them."""
    frame = np.repeat(np.arange(first, last), per_frame)
    x = np.sin(np.arange(first * per_frame, last * per_frame) * 1.7)
    flags = (x > 0.5).astype(np.int32)
    return {
        "frame": frame,
        "y": 3 * x,
        "x": x,
        "ok": flags == 0,
        "flags": flags,
        "flag_names": np.where(flags, "MINIMUM|CLIPPED", "-").astype(object),
    }


def write(path, blocks, *, resume=False, state=STATE, finish=True, done=0):
    with open_output(path, resume=resume, state=state) as output:
        assert output.done == done
        for first, last in blocks:
            output.write(first, last, rows(first, last), {"frames": last - first})
        if finish:
            output.finish({"origin": "center"})
    return output


@pytest.fixture(params=ENDINGS, ids=[ending or "dataset" for ending in ENDINGS])
def path(request, tmp_path):
    if package := ENDINGS[request.param]:
        pytest.importorskip(package)
    return tmp_path / f"peaks{request.param}"


def names(folder):
    return {entry.name for entry in folder.iterdir()}


def assert_holds(path, expected):
    columns, metadata = read_table(path)
    assert list(columns) == list(expected)
    for name, column in expected.items():
        np.testing.assert_array_equal(columns[name], column)
    assert metadata["origin"] == "center"


def test_files_do_not_tell_from_what_blocks_they_were_written(path, monkeypatch):
    monkeypatch.setattr(pieces, "ROWS", 8)
    other = path.with_name(f"other{path.suffix}")
    write(path, [(0, 1), (1, 6), (6, 9)])
    write(other, [(0, 9)])
    assert_holds(path, rows(0, 9))
    assert_holds(other, rows(0, 9))
    whole = path.with_name(f"whole{path.suffix}")
    if path.suffix:
        write_table(whole, rows(0, 9), {"origin": "center"})
    if path.suffix not in ("", ".h5"):  # HDF5 has the time in its header
        assert path.read_bytes() == other.read_bytes() == whole.read_bytes()
    assert not [name for name in names(path.parent) if "lock" in name or "parts" in name]


def test_a_table_without_rows_has_its_columns(path):
    with open_output(path, state=STATE) as output:
        output.write(0, 4, rows(0, 0))
        output.finish({"origin": "center"})
    columns, _ = read_table(path)
    assert list(columns) == list(rows(0, 0))
    assert all(len(column) == 0 for column in columns.values())


def test_a_stopped_run_goes_on(path):
    """With other blocks, and the rows are those of a run that was not stopped."""
    write(path, [(0, 2), (2, 5)], finish=False)
    output = write(path, [(5, 6), (6, 9)], resume=True, done=5)
    assert output.counts == {"rows": 27, "ok": int(rows(0, 9)["ok"].sum()), "frames": 9}
    assert_holds(path, rows(0, 9))


def test_a_resume_of_another_run_is_refused_and_says_in_what_it_differs(path):
    write(path, [(0, 2)], finish=False)
    for state, difference in (
        ({**STATE, "options": {"threshold_abs": 4.0, "size": [3, 3]}}, "options.threshold_abs is 4.0, and was 3.0"),
        ({**STATE, "options": {"threshold_abs": 3.0, "size": [3, 5]}}, "options.size[1] is 5, and was 3"),
        ({**STATE, "options": {"threshold_abs": 3.0, "size": [True, 3]}}, "options.size[0] is true, and was 3"),
        ({**STATE, "source": {"path": "movie.tif"}}, "source.size was 10, and is not there"),
        ({**STATE, "task": "spots"}, 'task is "spots", and was not there'),
    ):
        with pytest.raises(OutputError) as error:
            open_output(path, resume=True, state=state)
        assert str(error.value).startswith(f"{path}: cannot be resumed: {difference};")
    write(path, [(2, 3)], resume=True, done=2)
    assert_holds(path, rows(0, 3))


def test_a_resume_takes_a_number_for_the_same_number_of_another_type(path):
    write(path, [(0, 2)], finish=False)
    with open_output(path, resume=True, state={**STATE, "options": {"threshold_abs": 3, "size": [3.0, 3]}}) as output:
        assert output.done == 2


def test_without_resume_a_run_starts_anew(path):
    write(path, [(0, 2)], finish=False)
    output = write(path, [(0, 3)], state={"task": "spots"})
    assert output.notes == ("2 frames of an earlier run are replaced",)
    assert_holds(path, rows(0, 3))


def test_a_resume_of_what_is_done_has_nothing_to_do(tmp_path):
    pytest.importorskip("pyarrow")
    write(tmp_path / "peaks", [(0, 3)])
    write(tmp_path / "peaks", [], resume=True, done=3)
    assert_holds(tmp_path / "peaks", rows(0, 3))


def test_damaged_parts_are_measured_again(path):
    """A power cut can leave a part whose pages never reached the disk."""
    write(path, [(0, 2), (2, 5), (5, 7)], finish=False)
    folder = path if path.is_dir() else path.with_name(f"{path.name}.parts")
    part = sorted(folder.glob("part-*"))[1]
    part.write_bytes(part.read_bytes()[:-40])
    output = write(path, [(2, 7)], resume=True, done=2)
    assert output.notes == ("blocks up to frame 7 that were damaged, or followed a gap, are measured again",)
    assert_holds(path, rows(0, 7))


def test_damaged_values_in_whole_parts_are_measured_again(path):
    """Parts of Parquet were looked at no further than their ends: a resume took damaged values for rows."""
    write(path, [(0, 300), (300, 600)], finish=False)
    folder = path if path.is_dir() else path.with_name(f"{path.name}.parts")
    part = min(folder.glob("part-*"))
    content = bytearray(part.read_bytes())
    begin = content.index(rows(0, 300)["y"][100:102].tobytes())
    content[begin : begin + 8] = bytes(8)
    part.write_bytes(content)
    write(path, [(0, 300), (300, 600)], resume=True)
    assert_holds(path, rows(0, 600))


@pytest.mark.exhaustive
def test_two_runs_do_not_write_one_output(path):
    code = (
        "import sys; from npsubpix.movies.outputs import open_output\n"
        "output = open_output(sys.argv[1], state={}); print('open', flush=True); sys.stdin.read()"
    )
    other = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(other, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "open\n"
        with pytest.raises(OutputError, match=f"is being written by another run, process {process.pid} on"):
            open_output(path, state=STATE)
        process.kill()
    with open_output(path, state=STATE), pytest.raises(OutputError, match="is being written by this process already"):
        open_output(path, state=STATE)


def test_a_full_disk_keeps_what_is_safe(path, monkeypatch):
    with open_output(path, state=STATE) as output:
        output.write(0, 2, rows(0, 2))

        def full(*_):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patched:
            patched.setattr(Path, "replace", full)
            with pytest.raises(OutputError) as error:
                output.write(2, 4, rows(2, 4))
    safe = f" in {path}.parts, and a resume goes on from them" if path.suffix else ""
    assert (
        str(error.value) == f"{path}: cannot be written: No space left on device; the rows of 2 frames are safe{safe}"
    )
    write(path, [(2, 4)], resume=True, done=2)
    assert_holds(path, rows(0, 4))


def test_a_table_that_cannot_be_written_leaves_its_rows(tmp_path, monkeypatch):
    path = tmp_path / "peaks.csv"
    path.write_text("old")

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with open_output(path, state=STATE) as output:
        output.write(0, 4, rows(0, 4))
        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", full)
            with pytest.raises(OutputError, match="the rows of 4 frames are safe in"):
                output.finish({"origin": "center"})
    assert path.read_text() == "old"
    assert names(tmp_path) == {"peaks.csv", "peaks.csv.parts"}
    write(path, [], resume=True, done=4)
    assert_holds(path, rows(0, 4))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limits of files")
@pytest.mark.parametrize("ending", [ending for ending in ENDINGS if ending])
def test_a_disk_that_fills_as_the_table_is_written_is_named(tmp_path, ending):
    """HDF5 writes as it closes a file; its error named neither the file nor the rows, and crashed the process later."""
    import resource

    if package := ENDINGS[ending]:
        pytest.importorskip(package)
    path = tmp_path / f"peaks{ending}"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with open_output(path, state=STATE) as output:
        for first in range(0, 40, 10):
            output.write(first, first + 10, rows(first, first + 10, 20))
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (11_000, limits[1]))
            with pytest.raises(OutputError, match=r"peaks.*: cannot be written: .*; the rows of 40 frames are safe in"):
                output.finish({"origin": "center"})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert names(path.parent) == {f"{path.name}.parts"}
    gc.collect()
    write(path, [], resume=True, done=40)
    assert_holds(path, rows(0, 40, 20))


def test_a_folder_of_other_files_is_refused(tmp_path):
    pytest.importorskip("pyarrow")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").write_bytes(b"")
    with pytest.raises(OutputError, match=r"photos: is a folder with files of others, such as cat.png"):
        open_output(tmp_path / "photos", state=STATE)
    assert names(tmp_path / "photos") == {"cat.png"}


def test_a_run_without_rows_leaves_nothing(path):
    with open_output(path, state=STATE):
        pass
    assert names(path.parent) == set()


def test_columns_must_not_change(tmp_path):
    with open_output(tmp_path / "peaks.csv", state=STATE) as output:
        output.write(0, 1, rows(0, 1))
        with pytest.raises(ValueError, match="the same in all frames; x differs"):
            output.write(1, 2, {**rows(1, 2), "x": np.zeros(3, int)})


@pytest.mark.exhaustive
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("after", [0, 1, 7])
def test_a_killed_run_loses_at_most_a_block(path, after):
    """Killed in the middle of writing a block, at different places."""
    code = textwrap.dedent(
        """
        import os, signal, sys
        from npsubpix.movies import outputs
        from npsubpix.movies.outputs import parts
        from tests.test_outputs import STATE, rows
        from pathlib import Path

        path, after = Path(sys.argv[1]), int(sys.argv[2])
        with outputs.open_output(path, state=STATE) as output:
            for first in range(0, 20, 2):
                if first == 2 * after:
                    def killed(temporary, target):
                        os.kill(os.getpid(), signal.SIGKILL)
                    Path.replace = killed
                output.write(first, first + 2, rows(first, first + 2))
        """
    )
    done = subprocess.run([sys.executable, "-c", code, str(path), str(after)], check=False)
    assert done.returncode == -signal.SIGKILL
    write(path, [(2 * after, 20)], resume=True, done=2 * after)
    assert_holds(path, rows(0, 20))
    other = path.with_name(f"whole{path.suffix}")
    write(other, [(0, 20)])
    if path.suffix not in ("", ".h5"):
        assert path.read_bytes() == other.read_bytes()
    assert not [name for name in names(path.parent) if name.endswith((".parts", ".tmp"))]


@pytest.mark.exhaustive
@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.parametrize("ending", [".csv", ".parquet", ".h5", ".fits"])
def test_memory_is_flat_in_rows(tmp_path, ending):
    """Ten times the rows take no more memory, but for what the allocator keeps."""
    if package := ENDINGS[ending]:
        pytest.importorskip(package)
    code = textwrap.dedent(
        """
        import sys
        from npsubpix.movies.outputs import open_output
        from tests.test_outputs import STATE, rows

        with open_output(sys.argv[1], state=STATE) as output:
            for first in range(0, int(sys.argv[2]), 100):
                output.write(first, first + 100, rows(first, first + 100, 100))
            output.finish({})
        print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))
        """
    )
    peaks = []
    for frames in (2_000, 20_000):
        command = [sys.executable, "-c", code, str(tmp_path / f"peaks{ending}"), str(frames)]
        peaks.append(int(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    assert peaks[1] - peaks[0] < 40_000  # KiB; the rows take 100 MiB
