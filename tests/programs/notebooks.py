"""Execute the notebooks of the documents anew, and keep their outputs small.

    python tests/programs/notebooks.py

It needs nbclient, ipykernel and matplotlib. Run it where /tmp is on a disk: one of the
plots shows what is in memory.
"""

import base64
import io
import tempfile

import nbformat
from documents import ROOT
from nbclient import NotebookClient
from PIL import Image

COLOURS = 48
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def small(png):
    """Return a picture with fewer colours, which plots do not need."""
    image = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    out = io.BytesIO()
    image.quantize(COLOURS, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    return base64.b64encode(out.getvalue()).decode()


def execute(path):
    book = nbformat.read(path, 4)
    with tempfile.TemporaryDirectory() as work:
        resources = {"metadata": {"path": work}}
        NotebookClient(book, resources=resources, record_timing=False).execute()
    book.metadata = METADATA
    for cell in book.cells:
        for output in cell.get("outputs", ()):
            if "image/png" in output.get("data", ()):
                output.data = {"image/png": small(output.data["image/png"])}
    nbformat.write(book, path)
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size >> 10} KiB")


if __name__ == "__main__":
    for notebook in sorted(ROOT.glob("docs/notebooks/*.ipynb")):
        execute(notebook)
