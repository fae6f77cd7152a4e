"""Pillow, tifffile and nibabel: images of files, and pixels in place."""

import nibabel as nib
import numpy as np
import PIL.Image
import pytest
import tifffile

import yammap

GREY = np.arange(64 * 48, dtype="u1").reshape(48, 64)
COLOUR = np.dstack([GREY, GREY[::-1], GREY // 2])
VOLUME = np.arange(10 * 11 * 12, dtype="<i2").reshape(10, 11, 12)


# -- Pillow


@pytest.mark.parametrize(
    "kind", ["PNG", "TIFF", "BMP", "GIF", "JPEG2000", ("TIFF", "tiff_lzw")], ids=str
)
def test_pillow_saves_and_opens(new, kind):
    kind, packed = (kind, None) if isinstance(kind, str) else kind
    PIL.Image.fromarray(GREY).save(new, kind, compression=packed)
    new.seek(0)
    with PIL.Image.open(new) as image:
        np.testing.assert_array_equal(np.asarray(image.convert("L")), GREY)
    assert not new.closed


def test_pillow_over_pixels_in_place(path):
    GREY.tofile(path)
    with yammap.open(path, "r+") as m:
        images = [
            PIL.Image.frombuffer("L", (64, 48), m, "raw", "L", 0, 1),
            PIL.Image.fromarray(m.array("u1", (48, 64))),
        ]
        m.write_at(b"\xee", 64)  # row 1
        assert [image.getpixel((0, 1)) for image in images] == [0xEE, 0xEE]


def test_pillow_outlives_the_mapping(path, outlives):
    GREY.tofile(path)
    for make in (
        lambda m: PIL.Image.frombuffer("L", (64, 48), m, "raw", "L", 0, 1),
        lambda m: PIL.Image.fromarray(m.array("u1", shape=(48, 64))),
    ):
        outlives(make, PIL.Image.Image.tobytes)


def test_pillow_reads_when_it_needs_to(new):
    PIL.Image.fromarray(GREY).save(new, "PNG")
    new.seek(0)
    image = PIL.Image.open(new)
    new.close()
    with pytest.raises(ValueError, match="closed"):
        image.load()


# -- tifffile


@pytest.mark.parametrize("options", [{}, {"tile": (16, 16)}, {"compression": "zlib"}])
def test_tifffile_writes_and_reads(new, options):
    tifffile.imwrite(new, COLOUR, photometric="rgb", **options)
    new.seek(0)
    np.testing.assert_array_equal(tifffile.imread(new), COLOUR)
    assert not new.closed


def test_tifffile_pixels_in_place(path, inside, outlives):
    def pixels(m):
        m.seek(0)  # the file begins where the position is
        with tifffile.TiffFile(m) as tiff:
            series = tiff.series[0]
            return m.array(series.dtype, series.shape, series.dataoffset)

    tifffile.imwrite(path, COLOUR, photometric="rgb")
    with yammap.open(path) as m:
        assert inside(pixels(m), m)
        np.testing.assert_array_equal(pixels(m), COLOUR)
    outlives(pixels, np.ndarray.tolist)


def test_tifffile_under_growth_and_after_close(path):
    tifffile.imwrite(path, VOLUME)
    with yammap.open(path, "r+", reserve=0) as m:
        tiff = tifffile.TiffFile(m)
        m.resize(m.size() + (1 << 20))
        np.testing.assert_array_equal(tiff.asarray(), VOLUME)
    with pytest.raises(ValueError, match="closed"):
        tiff.asarray()


# -- nibabel


@pytest.fixture
def nifti(path):
    path = path.with_suffix(".nii")
    nib.Nifti1Image(VOLUME, np.eye(4)).to_filename(path)
    return path


def test_nibabel_reads_a_stream(nifti):
    with yammap.open(nifti) as m:
        image = nib.Nifti1Image.from_stream(m)
        np.testing.assert_array_equal(np.asarray(image.dataobj), VOLUME)
        np.testing.assert_array_equal(image.slicer[2:4].get_fdata(), VOLUME[2:4])


def test_nibabel_writes_a_stream(new):
    nib.Nifti1Image(VOLUME, np.eye(4)).to_stream(new)
    new.seek(0)
    image = nib.Nifti1Image.from_stream(new)
    np.testing.assert_array_equal(np.asarray(image.dataobj), VOLUME)


def test_nibabel_voxels_in_place(nifti, inside):
    with yammap.open(nifti) as m:
        of = nib.Nifti1Image.from_stream(m).dataobj
        voxels = m.array(of.dtype, of.shape, of.offset, order="F")
        assert inside(voxels, m)
    np.testing.assert_array_equal(voxels, VOLUME)


def test_nibabel_copy_on_write(nifti):
    """There is no descriptor for it to map once more, without the changes."""
    with yammap.open(nifti, "c") as m:
        image = nib.Nifti1Image.from_stream(m)
        m.array("<i2", 1, image.dataobj.offset)[:] = -7
        assert image.dataobj[0, 0, 0] == np.asarray(image.dataobj)[0, 0, 0] == -7


def test_nibabel_without_a_mapping_of_its_own(nifti):
    with yammap.open(nifti) as m:
        files = {"image": nib.FileHolder(fileobj=m)}
        image = nib.Nifti1Image.from_file_map(files, mmap=False)
        voxels = np.asarray(image.dataobj)
    assert not isinstance(voxels, np.memmap)
    np.testing.assert_array_equal(voxels, VOLUME)


def test_nibabel_under_growth_and_after_close(nifti):
    with yammap.open(nifti, "r+", reserve=0) as m:
        image = nib.Nifti1Image.from_stream(m)
        m.resize(m.size() + (1 << 20))
        np.testing.assert_array_equal(np.asarray(image.dataobj), VOLUME)
    with pytest.raises(ValueError, match="closed"):
        np.asarray(image.dataobj)
