"""The command line: what a user types, and what is on the screen and on the disk afterwards."""

from __future__ import annotations

import csv
import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import npsubpix
import npsubpix._tables
from tests.tables import read_table

pytest.importorskip("rich")
testing = pytest.importorskip("typer.testing")

from npsubpix.cli.app import app  # noqa: E402  after the check that typer is there

COMMAND = [sys.executable, "-m", "npsubpix"]


def run(*args, code=0):
    result = testing.CliRunner().invoke(app, [str(arg) for arg in args])
    assert result.exit_code == code, result.output + repr(result.exception)
    return result


def fails(*args, code=1):
    """Run what must fail, and return the only line of its error."""
    result = run(*args, code=code)
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("npsubpix: ")
    return lines[0]


def table_of(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file)), json.loads(path.with_name(f"{path.name}.json").read_text("utf-8"))


def spots(shape, places):
    y, x = np.indices(shape)
    return sum((90 - k) * np.exp(-((y - b) ** 2 + (x - a) ** 2) / 4) for k, (b, a) in enumerate(places))


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "spots.npy"
    np.save(path, spots((40, 50), [(10.3, 20.6), (30.1, 35.2), (22.0, 8.4)]))
    return path


@pytest.fixture
def movie(tmp_path):
    path = tmp_path / "movie.npy"
    np.save(path, np.stack([spots((40, 50), [(10, 20 + k), (30, 35)]) for k in range(3)]))
    return path


# --- what is found


def test_prints_the_number_of_peaks_and_the_first_rows(image):
    result = run("locate", image, "--threshold", 10, "--show", 2)
    lines = result.stdout.splitlines()
    assert lines[0] == "3 peaks in spots.npy"
    assert lines[1].split() == ["y", "x", "value", "flags"]
    y, x, value, flags = lines[2].split()
    assert (float(y), float(x)) == pytest.approx((30.1, 35.2), abs=0.05)
    assert float(value) == pytest.approx(89, rel=0.01)  # its pixel is nearest to the top
    assert flags == "-"
    assert len(lines) == 5
    assert lines[4] == "... 1 more"
    assert result.stderr == ""
    assert "\x1b" not in result.stdout
    assert run("locate", image, "--quiet").output == ""


@pytest.mark.parametrize(("origin", "shift"), [("center", 0.0), ("corner", 0.5), ("fits", 1.0)])
def test_positions_are_in_the_origin_asked_for(image, tmp_path, origin, shift):
    run("locate", image, "--threshold", 10, "--origin", origin, "--output", tmp_path / "a.csv")
    rows, metadata = table_of(tmp_path / "a.csv")
    peaks = npsubpix.find_peaks(np.load(image), threshold_abs=10)
    assert [float(row["x"]) for row in rows] == (peaks.coords[:, 1] + shift).tolist()
    assert [int(row["x_index"]) for row in rows] == peaks.indices[:, 1].tolist()
    assert metadata["origin"] == origin
    assert metadata["first_pixel_centre"] == shift


def test_options_reach_the_search_and_the_metadata(image, tmp_path):
    options = {
        "size": (5, 5),
        "min-distance": (4.5, 4.5),
        "threshold-rel": (0.1, 0.1),
        "num-peaks": (2, 2),
        "plateau": ("centroid", "centroid"),
        "refine": ("centroid", "centroid"),
        "radius": (4.0, 4.0),
    }
    args = [str(part) for name, (given, _) in options.items() for part in (f"--{name}", given)]
    run("locate", image, *args, "--minima", "--output", tmp_path / "a.csv")
    rows, metadata = table_of(tmp_path / "a.csv")
    wanted = {name.replace("-", "_"): value for name, (_, value) in options.items()}
    peaks = npsubpix.find_peaks(np.load(image), minima=True, **wanted)
    assert [float(row["y"]) for row in rows] == peaks.coords[:, 0].tolist()
    assert [row["flag_names"] for row in rows] == peaks.flag_names()
    assert wanted.items() <= metadata["options"].items()
    assert metadata["npsubpix_version"] == npsubpix.__version__
    assert metadata["units"] == "pixel (y, x)"
    assert metadata["created"].endswith("+00:00")
    assert metadata["images"] == [str(image)]


def test_thresholds_above_a_local_background(tmp_path, rng):
    """On a slope no one value tells spots from ground; a number of times the noise does, frame by frame."""
    truth = [(20, 25), (70, 90), (45, 140)]
    x = np.indices((90, 160))[1]
    slope = 0.6 * x + spots(x.shape, truth) * 0.8
    np.save(tmp_path / "a.npy", np.stack([slope + rng.normal(0, noise, x.shape) for noise in (2.0, 6.0)]))
    args = ("locate", tmp_path / "a.npy", "--background", 16, "--threshold", 7, "-o", tmp_path / "a.csv")
    assert "6 peaks" in run(*args).stdout
    rows, metadata = table_of(tmp_path / "a.csv")
    for frame in ("0", "1"):
        found = sorted((int(row["y_index"]), int(row["x_index"])) for row in rows if row["frame"] == frame)
        np.testing.assert_allclose(found, sorted(truth), atol=1)
    assert metadata["options"]["background"] == 16


def test_refinement_can_be_turned_off(image, tmp_path):
    run("locate", image, "--refine", "none", "--threshold", 10, "--output", tmp_path / "a.csv")
    assert all(float(row["y"]) == int(row["y_index"]) for row in table_of(tmp_path / "a.csv")[0])


def test_a_stack_is_searched_frame_by_frame_and_a_volume_as_one(movie, tmp_path):
    assert "6 peaks in movie.npy, 3 frames" in run("locate", movie, "--threshold", 10, "-o", tmp_path / "a.csv").stdout
    rows, _ = table_of(tmp_path / "a.csv")
    assert [row["frame"] for row in rows] == ["0", "0", "1", "1", "2", "2"]
    assert [round(float(row["x"])) for row in rows[::2]] == [20, 21, 22]
    run("locate", movie, "--volume", "-o", tmp_path / "b.csv")
    assert table_of(tmp_path / "b.csv")[1]["axes"] == "z, y, x"
    assert (tmp_path / "b.csv").read_text().startswith("z,y,x,value,z_index")


def test_several_images_share_a_table_with_their_names(image, movie, tmp_path):
    out = run("locate", image, movie, "--threshold", 10, "-o", tmp_path / "a.csv").stdout
    assert out.startswith("9 peaks in 2 of 2 images")
    rows, _ = table_of(tmp_path / "a.csv")
    assert [row["file"] for row in rows] == [str(image)] * 3 + [str(movie)] * 6
    assert list(rows[0])[:4] == ["file", "frame", "y", "x"]


def test_channel_and_hdu_choose_what_is_read(tmp_path):
    fits = pytest.importorskip("astropy.io.fits")
    red, green = spots((40, 50), [(10, 20)]), spots((40, 50), [(30, 9)])
    np.save(tmp_path / "colour.npy", np.stack([red, green, 0 * red], axis=-1))
    fits.HDUList([fits.PrimaryHDU(red), fits.ImageHDU(green)]).writeto(tmp_path / "a.fits")
    for args, count in ((("colour.npy", "--channel", 1), 1), (("colour.npy",), 2), (("a.fits", "--hdu", 1), 1)):
        run("locate", tmp_path / args[0], *args[1:], "--threshold", 10, "-o", tmp_path / "a.csv")
        rows, _ = table_of(tmp_path / "a.csv")
        assert len(rows) == count
        assert any(round(float(row["y"])) == 30 for row in rows)


@pytest.mark.parametrize("ending", ["csv", "parquet", "h5", "ecsv", "fits"])
def test_nothing_found_is_a_table_without_rows(tmp_path, ending):
    for package in ("pyarrow", "h5py", "astropy"):
        pytest.importorskip(package)
    np.save(tmp_path / "flat.npy", np.zeros((20, 30)))
    out = run("locate", tmp_path / "flat.npy", "-o", tmp_path / f"a.{ending}").stdout
    assert out.startswith("0 peaks in flat.npy")
    table = read_table(tmp_path / f"a.{ending}")
    assert len(table) == 0
    names = table.dtype.names if ending == "h5" else list(table.columns)
    assert {"y", "x", "value", "ok", "flags", "flag_names"} <= set(names)


def test_real_images_of_every_kind(data, tmp_path):
    for package in ("astropy", "tifffile", "imageio"):
        pytest.importorskip(package)
    galaxy = data("astro_iraf_m51/dev_pix.fits")
    frames = data("smlm_storm_analysis/test_300x200.tif")
    beads = data("micro_trackpy_t76/T76S3F00001.png")
    options = ("--refine", "centroid", "--threshold-rel", 0.01, "--min-distance", 5, "--quiet")
    run("locate", galaxy, *options, "-o", tmp_path / "m51.csv")
    found = np.array([[float(row["y"]), float(row["x"])] for row in table_of(tmp_path / "m51.csv")[0]])
    with (galaxy.parent / "starfind_expected.csv").open() as file:
        stars = [row for k, row in enumerate(csv.DictReader(file)) if k in (1, 2, 4, 6, 7, 8, 9)]
    for star in stars:  # those on which IRAF's two programs agree to a tenth of a pixel
        away = np.hypot(found[:, 0] - float(star["y0"]), found[:, 1] - float(star["x0"]))
        assert away.min() < 0.15
    run("locate", frames, "--threshold", 150, "--quiet", "-o", tmp_path / "storm.csv")
    assert {row["frame"] for row in table_of(tmp_path / "storm.csv")[0]} == {str(k) for k in range(10)}
    run("locate", beads, "--minima", "--min-distance", 5, "--quiet", "-o", tmp_path / "beads.csv")
    assert any("MINIMUM" in row["flag_names"] for row in table_of(tmp_path / "beads.csv")[0])


# --- pictures


@pytest.mark.parametrize("ending", ["png", "pdf", "svg", "jpg"])
def test_the_picture_is_drawn(image, movie, tmp_path, ending):
    pytest.importorskip("matplotlib")
    path = tmp_path / f"overlay.{ending}"
    run("locate", movie, image, "--threshold", 10, "--plot", path)
    magic = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml", "jpg": b"\xff\xd8\xff"}
    assert path.read_bytes().startswith(magic[ending])


# --- what goes wrong


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (["--output", "peaks.xls"], "unknown format '.xls'"),
        (["--output", "nowhere/peaks.csv"], "no folder"),
        (["--plot", "overlay.bmp"], "unknown format '.bmp'"),
        (["--plot", "nowhere/overlay.png"], "no folder"),
        (["--size", "0"], "--size must be at least 1"),
        (["--min-distance", "-1"], "--min-distance must be positive"),
        (["--threshold", "nan"], "--threshold must be finite"),
        (["--radius", "0"], "--radius must be positive"),
        (["--radius", "3"], "--radius needs --refine centroid"),
        (["--plot-frame", "1"], "--plot-frame needs --plot"),
        (["--resume"], "--resume needs --output"),
        (["--frames", "t", "--volume"], "--frames and --volume exclude each other"),
        (["--roi", "3:9"], "'3:9' is not a range per axis, such as 100:200,50:90"),
        (["--units", "mm"], "'mm' is not one of um, nm"),
        (["--workers", "0"], "--workers"),
        (["-o", "spots", "-o", "a.csv"], "a dataset, a name without an ending, is written alone"),
        (["--background", "0"], "--background must be at least 1"),
        (["--background", "local"], "--background"),
        (["--background-grow", "2"], "--background-grow needs --background"),
        (["--background", "8", "--level", "3"], "exclude each other"),
        (["--radius", "2,x"], "'2,x' is not a number, or one per axis"),
        (["--exclude-border", "-1"], "--exclude-border must be at least 0"),
        (["--n-iters", "0"], "--n-iters must be at least 1"),
        (["--max-shift", "0"], "--max-shift must be positive"),
        (["--sigma", "0"], "--sigma must be positive"),
        (["--napari", "--origin", "fits"], "--napari needs --origin center"),
        (["--refine", "magic"], "magic"),
        (["--show", "-1"], "--show"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_a_wrong_option_is_one_line_and_no_image_is_read(image, tmp_path, monkeypatch, args, reason):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("npsubpix.io._frames.open_image", lambda *_, **__: pytest.fail("an image was opened"))
    assert reason in fails("locate", image, *args, code=2)


def test_no_arguments_show_the_help_and_no_images_are_an_error():
    assert "locate" in run().stdout
    assert "IMAGE" in fails("locate", code=2)


def test_an_image_is_never_overwritten(tmp_path):
    iio = pytest.importorskip("imageio.v3")
    path = tmp_path / "a.png"
    iio.imwrite(path, np.zeros((20, 20), np.uint8))
    assert "would be overwritten" in fails("locate", path, "--plot", path, code=2)
    assert "would be overwritten" in fails("locate", tmp_path / "*.png", "--plot", path, code=2)


@pytest.mark.parametrize("option", ["image", "--mask"])
def test_a_file_of_several_images_is_never_overwritten(option, image, tmp_path):
    """What stands before :: is read too: the table took the place of the movie in the file."""
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "movie.h5"
    with h5py.File(path, "w") as file:
        file["pixels"] = np.zeros((20, 20), np.uint8)
    before = path.read_bytes()
    named = [f"{path}::/pixels"] if option == "image" else [image, option, f"{path}::/pixels"]
    assert "movie.h5: is an image to read" in fails("locate", *named, "--output", path, code=2)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "name", ["missing.tif", "text.png", "notes.txt", "five.npy", "pickled.npy", "zero.npy", "cut.tif"]
)
def test_a_bad_image_is_one_line_and_no_table(tmp_path, name):
    tifffile = pytest.importorskip("tifffile")
    (tmp_path / "text.png").write_text("not a picture at all")
    (tmp_path / "notes.txt").write_text("peaks at noon")
    np.save(tmp_path / "five.npy", np.zeros((2, 2, 2, 8, 8)))
    np.save(tmp_path / "pickled.npy", np.array([[{}, 1]], object), allow_pickle=True)
    np.save(tmp_path / "zero.npy", np.zeros((0, 8)))
    tifffile.imwrite(tmp_path / "whole.tif", np.zeros((9, 40, 40), np.uint16))
    (tmp_path / "cut.tif").write_bytes((tmp_path / "whole.tif").read_bytes()[:20000])
    line = fails("locate", tmp_path / name, "-o", tmp_path / "a.csv")
    assert str(tmp_path / name) in line
    assert not (tmp_path / "a.csv").exists()


def test_a_bad_image_does_not_lose_the_good_ones(image, movie, tmp_path):
    images = (image, tmp_path / "missing.tif", movie)
    result = run("locate", *images, "--threshold", 10, "--quiet", "-o", tmp_path / "a.csv", code=1)
    assert len(result.stderr.splitlines()) == 1
    assert "missing.tif" in result.stderr
    rows, metadata = table_of(tmp_path / "a.csv")
    assert len(rows) == 9
    assert "missing.tif" in metadata["errors"][0]


def test_frames_before_a_damaged_one_are_kept(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    frames = np.stack([spots((40, 50), [(10, 20)])] * 4).astype(np.float32)
    tifffile.imwrite(tmp_path / "a.tif", frames, compression="zlib", photometric="minisblack")
    data = bytearray((tmp_path / "a.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        start = file.pages[2].dataoffsets[0]
    data[start : start + 40] = b"\xff" * 40
    (tmp_path / "a.tif").write_bytes(data)
    line = fails("locate", tmp_path / "a.tif", "--threshold", 10, "--quiet", "-o", tmp_path / "a.csv")
    assert "frame 2 of 4 cannot be read" in line
    assert [row["frame"] for row in table_of(tmp_path / "a.csv")[0]] == ["0", "1"]


def test_debug_shows_where_an_error_is_from(tmp_path):
    result = run("locate", tmp_path / "missing.tif", "--debug", code=1)
    assert "Traceback" in result.stderr
    assert "FileNotFoundError" in result.stderr


def test_a_full_disk_leaves_the_old_table_and_the_rows_and_still_prints_the_peaks(image, tmp_path, monkeypatch):
    (tmp_path / "a.csv").write_text("old")

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    args = ("locate", image, "--threshold", 10, "-o", tmp_path / "a.csv")
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        result = run(*args, code=1)
    safe = f"the rows of 1 frame are safe in {tmp_path / 'a.csv.parts'}, and a resume goes on from them"
    assert result.stderr == f"npsubpix: {tmp_path / 'a.csv'}: cannot be written: No space left on device; {safe}\n"
    assert result.stdout.startswith("3 peaks")
    assert (tmp_path / "a.csv").read_text() == "old"
    assert {path.name for path in tmp_path.iterdir()} == {"a.csv", "a.csv.parts", "spots.npy"}
    assert run(*args, "--resume").stdout.startswith("3 peaks")
    assert len(table_of(tmp_path / "a.csv")[0]) == 3
    assert not (tmp_path / "a.csv.parts").exists()


def test_an_interrupt_is_one_line_and_leaves_what_a_resume_needs(image, tmp_path, monkeypatch):
    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setitem(npsubpix._tables.WRITERS, ".csv", interrupted)
    line = fails("locate", image, "-o", tmp_path / "a.csv", code=130)
    assert line == "npsubpix: interrupted; the rows of 1 frame are safe, and --resume goes on from them"
    assert {path.name for path in tmp_path.iterdir()} == {"a.csv.parts", "spots.npy"}


@pytest.mark.parametrize(("name", "args"), [("pyarrow", ["-o", "a.parquet"]), ("matplotlib", ["--plot", "a.png"])])
def test_a_missing_package_is_named_with_what_installs_it(image, tmp_path, monkeypatch, name, args):
    monkeypatch.chdir(tmp_path)
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda wanted, *rest: None if wanted == name else find(wanted, *rest)
    )
    line = fails("locate", image, *args, code=2)
    assert name in line
    assert "pip install 'npsubpix[app]'" in line


def test_a_missing_reader_is_named_with_what_installs_it(tmp_path, monkeypatch):
    (tmp_path / "a.tif").write_bytes(b"II*\0" + bytes(40))
    monkeypatch.setitem(sys.modules, "tifffile", None)
    line = fails("locate", tmp_path / "a.tif")
    assert "tifffile" in line
    assert "pip install 'npsubpix[app]'" in line


def test_without_typer_the_command_says_what_installs_it():
    code = "import sys; sys.modules['typer'] = None; import npsubpix.__main__"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines() == ["npsubpix: the command line needs typer: pip install 'npsubpix[app]'"]


# --- as a process


def test_in_a_pipe_there_is_no_bar_and_no_colour(movie):
    environment = {**os.environ, "FORCE_COLOR": "1", "TERM": "xterm-256color"}
    done = subprocess.run([*COMMAND, "locate", movie], capture_output=True, text=True, check=True, env=environment)
    assert "\x1b" not in done.stdout
    note = "3 × 40 × 50, axes not named, taken for 3 frames; --volume or --axes reads them otherwise"
    assert done.stderr == f"npsubpix: {movie}: note: {note}\n"


def on_a_terminal(*command):
    """Run a command with a terminal as its standard error; return what it shows there."""
    import pty

    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "150"}
    arguments = [*COMMAND, *map(str, command)]
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=theirs, env=environment)
    os.close(theirs)
    shown = b""
    with process:
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            shown += part
    os.close(ours)
    assert process.returncode == 0
    return shown.decode()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
def test_on_a_terminal_there_is_a_bar(movie):
    shown = on_a_terminal("locate", movie)
    assert "%" in shown
    assert "movie.npy" in shown


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)])
def test_a_run_that_is_stopped_while_writing_leaves_the_old_table(image, tmp_path, number, code):
    (tmp_path / "a.csv").write_text("old")
    slow = (
        "import signal, sys, time, npsubpix._tables as tables\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # which shells turn off for jobs behind an &
        "def write(path, pieces, metadata):\n"
        "    path.write_text('half')\n"
        "    print('writing', flush=True)\n"
        "    time.sleep(60)\n"
        "tables.WRITERS['.csv'] = write\n"
        "from npsubpix.cli.app import main\n"
        "main()"
    )
    command = [sys.executable, "-c", slow, "locate", image, "-o", tmp_path / "a.csv"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "writing\n"
        time.sleep(0.2)
        process.send_signal(number)
        _, error = process.communicate()
    assert process.returncode == code
    assert (tmp_path / "a.csv").read_text() == "old"
    if number == signal.SIGINT:
        assert error == "npsubpix: interrupted; the rows of 1 frame are safe, and --resume goes on from them\n"
        assert {path.name for path in tmp_path.iterdir()} == {"a.csv", "a.csv.parts", "spots.npy"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_standard_output_is_one_line():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*COMMAND, "info"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines() == ["npsubpix: [Errno 28] No space left on device"]


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom npsubpix.cli.app import app\n"
        "try:\n    app(['locate', '--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'matplotlib', 'pandas', 'astropy', 'tifffile', 'imageio', 'numba', 'scipy', 'torch', 'pyarrow'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "frame with most peaks" in " ".join(done.stdout.replace("│", " ").split())


def test_info_says_what_a_report_of_a_fault_needs():
    lines = dict(line.split("  ", 1) for line in run("info").stdout.splitlines())
    assert lines["npsubpix"].strip() == npsubpix.__version__
    assert {"Python", "numpy", "numba", "scipy", "threads", "threading layer", "cache", "linking", "GPU"} <= set(lines)
    assert int(lines["threads"]) >= 1
    assert run("--version").stdout == f"npsubpix {npsubpix.__version__}\n"


def moved_pair(folder):
    """Two images of one texture, the second half a pixel up and 1.25 to the right."""
    y, x = np.mgrid[:60, :70]
    paths = []
    for name, dy, dx in (("fixed", 0.0, 0.0), ("moving", -0.5, 1.25)):
        v, u = y - dy, x - dx
        image = np.sin(v / 3) * np.cos(u / 4) + np.sin(0.2 * u + 0.15 * v) + np.cos(0.11 * v - 0.3 * u)
        paths.append(folder / f"{name}.npy")
        np.save(paths[-1], image.astype(np.float32))
    return paths


def test_align_writes_shifts_images_and_a_picture(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    fixed, moving = moved_pair(tmp_path)
    table, warped, plot = tmp_path / "t.csv", tmp_path / "warped.tif", tmp_path / "p.png"
    result = run("align", fixed, moving, fixed, "--table", table, "-o", warped, "--plot", plot)
    assert "2 images aligned to fixed.npy" in result.stdout
    rows, metadata = table_of(table)
    shifts = [[float(row["dy"]), float(row["dx"])] for row in rows]
    np.testing.assert_allclose(shifts, [[-0.5, 1.25], [0, 0]], atol=2e-3)
    np.testing.assert_allclose(shifts, [[float(row["m02"]), float(row["m12"])] for row in rows], atol=1e-9)
    assert metadata["options"]["model"] == "translation"
    stack = tifffile.imread(warped)
    assert stack.shape == (2, 60, 70)
    assert stack.dtype == np.float32
    difference = stack[0] - np.load(fixed)
    assert np.nanmax(np.abs(difference[6:-6, 6:-6])) < 0.01
    assert np.isnan(difference[0]).all()
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_align_goes_on_after_a_bad_image(tmp_path):
    fixed, moving = moved_pair(tmp_path)
    np.save(tmp_path / "flat.npy", np.zeros((60, 70)))
    (tmp_path / "broken.npy").write_bytes(b"\x93NUMPY garbage")
    files = (tmp_path / "broken.npy", tmp_path / "flat.npy", tmp_path / "none.npy", moving)
    result = run("align", fixed, *files, "--table", tmp_path / "t.csv", code=1)
    rows, _ = table_of(tmp_path / "t.csv")
    assert [Path(row["file"]).name for row in rows] == ["flat.npy", "moving.npy"]
    assert rows[0]["flag_names"] == "NO_TEXTURE"
    assert len(result.stderr.splitlines()) == 2
    assert "broken.npy" in result.stderr
    assert "none.npy" in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("-o", "w.png"), "must end with .tif, .tiff, .zarr"),
        (("--table", "t.xyz"), "unknown format"),
        (("--plot", "p.bmp"), "unknown format"),
        (("--model", "rigid"), "--model"),
        (("--table", "none/t.csv"), "there is no folder"),
    ],
)
def test_align_refuses_before_any_work(tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    fixed, moving = moved_pair(tmp_path)
    assert message in fails("align", fixed, moving, *options, code=2)
    Path("p.png").write_bytes(b"x")
    assert "would be overwritten" in fails("align", fixed, "p.png", "--plot", "p.png", code=2)


def test_align_writes_a_page_for_each_row(tmp_path):
    """A file that is given twice has its pages twice, in the order of the table."""
    tifffile = pytest.importorskip("tifffile")
    fixed, moving = moved_pair(tmp_path)
    run("align", fixed, moving, fixed, moving, "-o", tmp_path / "o.tif", "--table", tmp_path / "t.csv")
    pages = tifffile.imread(tmp_path / "o.tif")
    assert len(pages) == len(table_of(tmp_path / "t.csv")[0]) == 3
    np.testing.assert_array_equal(pages[0], pages[2])


@pytest.mark.parametrize("command", ["align", "locate"])
def test_pages_of_another_size_are_spoken_of(tmp_path, command):
    tifffile = pytest.importorskip("tifffile")
    fixed, moving = moved_pair(tmp_path)
    with tifffile.TiffWriter(tmp_path / "mixed.tif") as file:
        file.write(np.load(moving))
        file.write(np.zeros((30, 40)))
    images = [fixed] if command == "align" else []
    result = run(
        command, *images, tmp_path / "mixed.tif", "--table" if command == "align" else "-o", tmp_path / "t.csv"
    )
    assert "mixed.tif: note: series 0 (60 × 70 float32) is read; --series reads 1 (30 × 40 float64)" in result.stderr
