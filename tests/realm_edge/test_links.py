"""Nothing is read from outside of a recording: what it leads to lies beside it, or it is refused before anything is read."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from realm_edge.app import cli
from realm_edge.errors import UserError
from realm_edge.readers import neo_formats
from realm_edge.readers.contents import Request
from realm_edge.readers.links import check_zarr, linked_files
from realm_edge.readers.reading import fingerprint, read_recording
from tests import lab_files
from tests.nwb_file import add_behavior, add_lfp, new_file, recording_file, velocity

pytestmark = pytest.mark.filterwarnings("ignore:The linked table for DynamicTableRegion")

COUNTS = np.random.default_rng(0).integers(-500, 500, (30_000, 4), dtype=np.int16)
T = np.arange(1500) / 50
LFP = "processing/ecephys/LFP/lfp"


def values_elsewhere(folder, kind, where):
    """A recording whose LFP lies in another file, which ``where`` names; gives both."""
    other = (folder / "rec" / where).resolve()
    (folder / "rec").mkdir()
    other.parent.mkdir(exist_ok=True)
    path = recording_file(folder / "rec" / "a.nwb", 0 * COUNTS, velocity("hand", np.sin(T), timestamps=T))
    with h5py.File(path, "a") as file:
        attributes = dict(file[f"{LFP}/data"].attrs)
        del file[f"{LFP}/data"]
        match kind:
            case "external link":
                file[f"{LFP}/data"] = h5py.ExternalLink(where, "/data")
            case "external storage":
                file[LFP].create_dataset("data", COUNTS.shape, COUNTS.dtype, external=[(where, 0, COUNTS.nbytes)])
            case "virtual dataset":
                layout = h5py.VirtualLayout(COUNTS.shape, COUNTS.dtype)
                layout[:] = h5py.VirtualSource(where, "data", COUNTS.shape)
                file[LFP].create_virtual_dataset("data", layout)
        if kind != "external link":
            file[f"{LFP}/data"].attrs.update(attributes)
    if kind == "external storage":
        COUNTS.tofile(other)
    else:
        with h5py.File(other, "w") as file:
            file.create_dataset("data", data=COUNTS).attrs.update(attributes)
    return path, other


KINDS = ["external link", "external storage", "virtual dataset"]


@pytest.mark.parametrize("kind", KINDS)
def test_values_outside_of_the_folder_are_refused(tmp_path, kind):
    path, _ = values_elsewhere(tmp_path, kind, "../outside/secret")
    for command in (
        ["data", "inspect", path],
        ["data", "--data", path, "--out", tmp_path / "run"],
        ["data", "convert", path, tmp_path / "a.realm"],
    ):
        result = CliRunner().invoke(cli.main, [str(word) for word in command])
        assert (
            result.exit_code == 2
            and "a.nwb: it links to '../outside/secret', which does not lie beside it: it was not read" in result.stderr
        )
    assert not (tmp_path / "a.realm").exists() and not list((tmp_path / "run").rglob("*.npz"))


@pytest.mark.parametrize("kind", KINDS)
def test_values_beside_the_file_are_read_and_in_its_fingerprint(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    path, other = values_elsewhere(tmp_path, kind, "beside")
    assert linked_files(path) == [path.parent / "beside"]
    np.testing.assert_array_equal(np.asarray(read_recording(path).lfp), COUNTS)
    before = fingerprint(path)
    content = bytearray(other.read_bytes())
    content[len(content) // 2] ^= 1
    other.write_bytes(content)
    assert fingerprint(path) != before


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=pytest.mark.slow if at else ()) for at, kind in enumerate(KINDS)])
def test_no_variable_of_the_environment_leads_elsewhere(tmp_path, kind):
    path, other = values_elsewhere(tmp_path, kind, "beside")
    secret = tmp_path / "secret" / "beside"
    secret.parent.mkdir()
    content = other.read_bytes()
    secret.write_bytes(content.replace(COUNTS.tobytes(), (0 * COUNTS + 77).tobytes()))
    assert len(content) == secret.stat().st_size and content != secret.read_bytes()
    names = ("HDF5_EXT_PREFIX", "HDF5_VDS_PREFIX", "HDF5_EXTFILE_PREFIX", "HDF5_PLUGIN_PATH")
    code = (
        "import sys; from pathlib import Path; from realm_edge.apart import apart; "
        "from realm_edge.readers.reading import read_recording; import os; path = Path(sys.argv[1]); "
        "print(apart('realm_edge.inspection:summary', path, files=[path])['sha256'], read_recording(path).lfp[:].max(), "
        "sorted(name for name in os.environ if name.startswith('HDF5_')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        env=os.environ | dict.fromkeys(names, str(secret.parent)) | {"HDF5_USE_FILE_LOCKING": "FALSE"},
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split(maxsplit=2) == [
        fingerprint(path),
        str(COUNTS.max()),
        "['HDF5_EXTFILE_PREFIX', 'HDF5_USE_FILE_LOCKING']\n",
    ]


def virtual(path, source, blocks):
    """A virtual dataset of the file whose sources have a name with the number of a block, or with a sign that stands for another."""
    whole, one = h5py.h5s.create_simple((8, 4), (h5py.h5s.UNLIMITED, 4)), h5py.h5s.create_simple((4, 4))
    whole.select_hyperslab((0, 0), (h5py.h5s.UNLIMITED, 1) if blocks else (1, 1), (4, 4), (4, 4))
    kind = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    kind.set_virtual(whole, source, b"data", one)
    with h5py.File(path, "w") as file:
        h5py.h5d.create(file.id, b"x", h5py.h5t.STD_I16LE, h5py.h5s.create_simple((8, 4), (h5py.h5s.UNLIMITED, 4)), kind)


@pytest.mark.parametrize(("source", "blocks"), [(b"../secret%b.h5", True), (b"secret%b.h5", True), (b"a%%.h5", False)])
def test_names_that_hdf5_makes_others_of_are_refused(tmp_path, source, blocks):
    virtual(tmp_path / "a.h5", source, blocks)
    with pytest.raises(UserError, match=rf"a\.h5: it links to '{source.decode()}', a name with %: rename that file, and write the virtual"):
        linked_files(tmp_path / "a.h5")


def test_a_link_is_not_looked_for_where_the_program_runs(tmp_path, monkeypatch):
    (tmp_path / "rec").mkdir()
    with h5py.File(tmp_path / "rec" / "a.h5", "w") as file:
        file["x"] = h5py.ExternalLink("secret.h5", "/x")
    assert linked_files(tmp_path / "rec" / "a.h5") == []
    (tmp_path / "secret.h5").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"a\.h5: it links to 'secret\.h5', which is not there: put it there"):
        linked_files(tmp_path / "rec" / "a.h5")


def of_regions(file, target):
    file.create_dataset("x", (1,), h5py.regionref_dtype)[0] = target.regionref[:1]


def in_a_table(file, target):
    kind = np.dtype([("start", "i4"), ("of", h5py.ref_dtype)])
    file["x"] = np.array([(0, target.ref)] * 3, kind)


def of_a_group(file, target):
    file.attrs["x"] = target.parent.ref


def unlisted(file, source):
    """A dataset in a group that is kept by itself, once its name is removed."""
    group = file.create_group("unlisted")
    group["itself"] = group
    return group.create_dataset("x", (1, 8), "f8", external=[(source, 0, 64)])


REFERENCES = {
    "in a dataset": lambda file, target: file.create_dataset("x", data=np.array([h5py.Reference(), target.ref], h5py.ref_dtype)),
    "alone": lambda file, target: file.create_dataset("x", data=target.ref, dtype=h5py.ref_dtype),
    "in an attribute": lambda file, target: file.create_group("x").attrs.create("of", target.ref, dtype=h5py.ref_dtype),
    "of regions": of_regions,
    "in a table": in_a_table,
    "of a group": of_a_group,
}


@pytest.mark.parametrize("how", REFERENCES)
def test_what_references_alone_lead_to_counts(tmp_path, how):
    """A dataset that no group lists, which readers get to by a reference."""
    (tmp_path / "secret").write_bytes(bytes(64))
    path = tmp_path / "rec" / "a.h5"
    path.parent.mkdir()
    with h5py.File(path, "w") as file:
        hidden = unlisted(file, "../secret")
        REFERENCES[how](file, hidden)
        del file["unlisted"]
    with pytest.raises(UserError, match=r"a\.h5: it links to '\.\./secret', which does not lie beside it: it was not read"):
        linked_files(path)


def test_references_that_are_stored_elsewhere_are_refused(tmp_path):
    (tmp_path / "refs").write_bytes(bytes(64))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", (8,), h5py.ref_dtype, external=[("refs", 0, 64)])
    with pytest.raises(UserError, match=r"nobody knows which files it leads to \(references that are stored elsewhere\)"):
        linked_files(tmp_path / "a.h5")


def test_a_link_of_a_link_counts(tmp_path):
    """The file beside leads on to one outside."""
    (tmp_path / "rec").mkdir()
    with h5py.File(tmp_path / "rec" / "a.h5", "w") as file:
        file["x"] = h5py.ExternalLink("b.h5", "/x")
    with h5py.File(tmp_path / "rec" / "b.h5", "w") as file:
        file["x"] = h5py.ExternalLink("../secret.h5", "/x")
    with pytest.raises(UserError, match=r"b\.h5: it links to '\.\./secret\.h5', which does not lie beside it"):
        linked_files(tmp_path / "rec" / "a.h5")


def test_links_that_go_round_and_symbolic_links(tmp_path):
    folder = tmp_path / "rec"
    folder.mkdir()
    for name, other in (("a", "b"), ("b", "a")):
        with h5py.File(folder / f"{name}.h5", "w") as file:
            file.create_group("g")["round"] = file["/"]  # a group within itself
            file["x"] = h5py.ExternalLink(f"{other}.h5", "/x")
    assert linked_files(folder / "a.h5") == [folder / "b.h5"]
    (tmp_path / "secret.h5").touch()
    (folder / "b.h5").unlink()
    (folder / "b.h5").symlink_to(tmp_path / "secret.h5")
    with pytest.raises(UserError, match=r"a\.h5: it links to 'b\.h5', which does not lie beside it"):
        linked_files(folder / "a.h5")


def test_what_is_linked_to_must_be_a_file_too(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = h5py.ExternalLink("b.h5", "/x")
    os.mkfifo(tmp_path / "b.h5")
    with pytest.raises(UserError, match=r"b\.h5: no regular file"):
        linked_files(tmp_path / "a.h5")
    (tmp_path / "a.nwb.zarr").mkdir()
    os.mkfifo(tmp_path / "a.nwb.zarr" / ".zattrs")
    with pytest.raises(UserError, match=r"\.zattrs: no regular file"):
        check_zarr(tmp_path / "a.nwb.zarr")


def test_zarr_leads_nowhere_else(tmp_path):
    path = tmp_path / "a.nwb.zarr"
    (path / "acquisition").mkdir(parents=True)
    link = {"zarr_link": [{"name": "lfp", "source": ".", "path": "/x"}]}
    attributes = path / "acquisition" / ".zattrs"
    attributes.write_text(json.dumps(link))
    check_zarr(path)
    del link["zarr_link"][0]["source"]
    attributes.write_text(json.dumps(link))
    with pytest.raises(UserError, match=r"a\.nwb\.zarr: acquisition/\.zattrs: it links to '/x', which is not in this store"):
        check_zarr(path)
    (path / "d1" / "d2" / "d3").mkdir(parents=True)
    (path / "sub").symlink_to("d1/d2/d3")
    for source in ("../secret.nwb.zarr", "sub/../../../secret.nwb.zarr", "x::file:///etc"):
        link["zarr_link"][0]["source"] = source
        attributes.write_text(json.dumps(link))
        with pytest.raises(UserError, match=rf"\.zattrs: it links to '{re.escape(source)}', which is not in this store"):
            check_zarr(path)
    attributes.write_text(json.dumps({"table": {"zarr_dtype": "object", "value": {"path": "../../secret.nwb.zarr"}}}))
    with pytest.raises(UserError, match=r"\.zattrs: it links to '\.\./\.\./secret\.nwb\.zarr', which is not in this store"):
        check_zarr(path)
    attributes.unlink()
    (tmp_path / "secret").write_text("x")
    (path / "acquisition" / "0.0").symlink_to(tmp_path / "secret")
    with pytest.raises(UserError, match=r"a\.nwb\.zarr: acquisition/0\.0 is a link to outside of it"):
        check_zarr(path)


def zarr_recording(path, reference):
    """A recording as Zarr, whose electrodes refer to their group by a column of JSON."""
    import numcodecs
    import zarr
    from hdmf_zarr.nwb import NWBZarrIO

    file = new_file()
    add_lfp(file, COUNTS)
    add_behavior(file, velocity("hand", np.sin(T), timestamps=T))
    with NWBZarrIO(str(path), mode="w") as io:
        io.write(file)
    table = zarr.open(str(path), "a")["general/extracellular_ephys/electrodes"]
    attributes, values = dict(table["group"].attrs), np.empty(4, object)
    values[:] = [reference] * 4
    del table["group"]
    column = table.create_dataset("group", shape=(4,), dtype=object, object_codec=numcodecs.JSON(), chunks=(4,))
    column[:] = values
    column.attrs.update(attributes)
    zarr.consolidate_metadata(str(path))
    return path


def test_cells_of_zarr_lead_nowhere_else(tmp_path):
    """References in a column of JSON, and whatever else hdmf-zarr is about to follow."""
    pytest.importorskip("hdmf_zarr.nwb", reason="hdmf-zarr is not installed: pip install 'realm-edge[formats]'")
    from realm_edge.readers import nwb_zarr

    within = zarr_recording(tmp_path / "a.nwb.zarr", {"source": ".", "path": "/general/extracellular_ephys/array"})
    np.testing.assert_array_equal(np.asarray(read_recording(within).lfp), COUNTS)
    for index, reference in enumerate(({"source": "../b.nwb.zarr", "path": "/x"}, {"path": "../b.nwb.zarr"})):
        path = zarr_recording(tmp_path / f"{index}.nwb.zarr", reference)
        with pytest.raises(
            UserError, match=r"\.nwb\.zarr: .*electrodes/group: it links to '\.\./b\.nwb\.zarr', which is not in this store"
        ):
            read_recording(path)
        with pytest.raises(UserError, match="which is not in this store"):
            nwb_zarr._Own(str(path), mode="r", load_namespaces=True).resolve_ref(reference)


def test_open_ephys_names_folders_below_its_own(tmp_path):
    numbers = np.arange(300)
    folder = lab_files.open_ephys(tmp_path / "rat", 30000.0, COUNTS[:300, :3], numbers, numbers / 30000, [(0.001, 0.002)])
    neo_formats.read(folder, Request(0.02))
    (said,) = folder.rglob("structure.oebin")
    content = json.loads(said.read_text())
    content["continuous"][0]["folder_name"] = "../../../../secret/"
    said.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"structure\.oebin: it links to '\.\./\.\./\.\./\.\./secret/', which does not lie beside it"):
        neo_formats.read(folder, Request(0.02))
    said.write_text("[" * 100_000)
    with pytest.raises(UserError, match=r"structure\.oebin: not readable as JSON of Open Ephys \(RecursionError\)"):
        neo_formats.read(folder, Request(0.02))


def test_the_file_itself_may_be_a_symbolic_link(tmp_path):
    path = recording_file(tmp_path / "store.nwb", COUNTS, velocity("hand", np.sin(T), timestamps=T))
    Path(tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.nwb").symlink_to(path)
    assert read_recording(tmp_path / "sub" / "a.nwb").name == "a"


def test_what_cannot_be_told_is_refused(tmp_path):
    """A virtual dataset whose second source has a name that is no text: the first one must not be read either."""
    (tmp_path / "rec").mkdir()
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["data"] = COUNTS
    with h5py.File(tmp_path / "rec" / "a.h5", "w") as file:
        layout = h5py.VirtualLayout(COUNTS.shape, COUNTS.dtype)
        layout[:100] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "data", COUNTS.shape)[:100]
        layout[100:200] = h5py.VirtualSource("bXX.h5", "data", COUNTS.shape)[100:200]
        file.create_virtual_dataset("data", layout)
    content = (tmp_path / "rec" / "a.h5").read_bytes()
    assert b"bXX.h5" in content
    (tmp_path / "rec" / "a.h5").write_bytes(content.replace(b"bXX.h5", b"b\xff\xfe.h5"))
    with pytest.raises(UserError, match=r"a\.h5: (damaged, so that nobody knows which files it leads to|it links to)"):
        linked_files(tmp_path / "rec" / "a.h5")


def test_links_are_looked_for_where_hdf5_finds_them(tmp_path, monkeypatch):
    real, other = tmp_path / "real", tmp_path / "links"
    real.mkdir()
    other.mkdir()
    with h5py.File(real / "a.h5", "w") as file:
        file["x"] = h5py.ExternalLink("x.h5", "/x")
    (real / "x.h5").touch()
    (other / "a.h5").symlink_to(real / "a.h5")
    assert linked_files(other / "a.h5") == [real / "x.h5"]  # beside the file itself
    with h5py.File(real / "b.h5", "w") as file:
        file["x"] = h5py.ExternalLink(str(real / "nosuch" / "cwd.h5"), "/x")
    assert linked_files(real / "b.h5") == []  # it leads nowhere
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cwd.h5").touch()
    with pytest.raises(UserError, match=r"b\.h5: it links to '.*/nosuch/cwd\.h5', which is not there: put it there, or correct the link"):
        linked_files(real / "b.h5")


@pytest.mark.parametrize("what", ["no file", "no dataset", "too short", "nothing of its own"])
def test_values_of_a_virtual_dataset_that_are_nowhere_are_no_zeros(tmp_path, what):
    """HDF5 would make up zeros: a recording that was copied without one of its parts."""
    with h5py.File(tmp_path / "a.h5", "w") as file, h5py.File(tmp_path / "b.h5", "w") as other:
        file["own"], other["data"] = COUNTS[:10], COUNTS[10:20]
        layout = h5py.VirtualLayout((20, 4), "i2")
        layout[:10] = h5py.VirtualSource(".", "own", (10, 4))
        layout[10:] = h5py.VirtualSource("b.h5", "data", (10, 4))
        file.create_virtual_dataset("whole", layout)
    assert linked_files(tmp_path / "a.h5") == [tmp_path / "b.h5"]
    if what == "no file":
        (tmp_path / "b.h5").unlink()
    else:
        with h5py.File(tmp_path / ("a.h5" if what == "nothing of its own" else "b.h5"), "a") as file:
            del file["own" if what == "nothing of its own" else "data"]
            if what == "too short":
                file["data"] = COUNTS[10:19]
    source = "'own' of '.'" if what == "nothing of its own" else "'data' of 'b.h5'"
    with pytest.raises(
        UserError, match=rf"a\.h5: /whole takes values from {source}, where they are not: put the file that has them beside"
    ):
        linked_files(tmp_path / "a.h5")


def test_storage_that_ends_early_is_no_zeros(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        parts = [("b.bin", 8, 40), ("c.bin", 0, h5py.h5f.UNLIMITED)]
        file.create_dataset("whole", (10, 4), "i2", external=parts)
    (tmp_path / "b.bin").write_bytes(bytes(48))
    (tmp_path / "c.bin").write_bytes(bytes(40))
    assert len(linked_files(tmp_path / "a.h5")) == 2
    for name, size in (("c.bin", 39), ("b.bin", 47)):
        (tmp_path / name).write_bytes(bytes(size))
        with pytest.raises(UserError, match=rf"a\.h5: /whole takes {size + 1} bytes of '{name}', which has fewer"):
            linked_files(tmp_path / "a.h5")
