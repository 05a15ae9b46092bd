"""Small programs as somebody else would write them, of the standard library alone; each is a word of ``python -c``."""

#: Marks the brightest voxel of a NIfTI file. By its value it misbehaves: 1000 crashes, 1001 waits, 1002 prints garbage.
OWN = """
import gzip, json, os, struct, sys, time
folder, out = sys.argv[1:3]
request = json.load(open(os.path.join(folder, "request.json")))
assert request == {"version": 1, "kind": "scan", "ct": "ct.nii.gz"}, request
data = gzip.open(os.path.join(folder, request["ct"])).read()
nx, ny, nz = struct.unpack_from("<3h", data, 42)
assert struct.unpack_from("<h", data, 70)[0] == 4, "whole numbers of 16 bits"
rows = [struct.unpack_from("<4f", data, 280 + 16 * i) for i in range(3)]
voxels = memoryview(data)[352:].cast("h")
top = max(voxels)
at = list(voxels).index(top)
if top == 1000:
    sys.exit("the brightest voxel is too bright")
if top == 1001:
    time.sleep(60)
if top == 1002:
    open(os.path.join(out, "result.json"), "w").write("nodule!")
    sys.exit()
i, j, k = at % nx, at // nx % ny, at // nx // ny
point = [r[0] * i + r[1] * j + r[2] * k + r[3] for r in rows]
mark = {"point_mm": point, "diameter_mm": 6.0, "score": top / 1000}
json.dump({"version": 1, "marks": [mark]}, open(os.path.join(out, "result.json"), "w"))
"""

#: The same as an entry of a challenge: its paths, its image format, its JSON.
CHALLENGE = """
import glob, json, os, struct, sys
folder, out = sys.argv[1:3]
inputs = json.load(open(os.path.join(folder, "inputs.json")))
(socket,) = (sv["socket"] for sv in inputs)
assert socket["slug"] == "ct-image" and inputs[0]["interface"]["slug"] == "ct-image"
(path,) = glob.glob(os.path.join(folder, socket["relative_path"], "*.mha"))
assert os.path.basename(path) == inputs[0]["image"]["name"]
data = open(path, "rb").read()
head, _, body = data.partition(b"ElementDataFile = LOCAL\\n")
fields = dict(line.split(" = ") for line in head.decode().splitlines())
assert fields["TransformMatrix"] == "1 0 0 0 1 0 0 0 1" and fields["ElementType"] == "MET_SHORT", fields
size, step, origin = ([float(v) for v in fields[k].split()] for k in ("DimSize", "ElementSpacing", "Offset"))
voxels = list(memoryview(body).cast("h"))
at, nx, ny = voxels.index(max(voxels)), int(size[0]), int(size[1])
ijk = at % nx, at // nx % ny, at // nx // ny
point = [o + s * i for o, s, i in zip(origin, step, ijk)]
points = [{"name": "lesion", "point": point, "probability": 0.9}]
result = {"name": "nodules", "type": "Multiple points", "points": points, "version": {"major": 1, "minor": 0}}
json.dump(result, open(os.path.join(out, "nodule-locations.json"), "w"))
"""

#: Answers to slices by the mean of their first picture's bytes; the task "lobe" is not done, "size" ends the program.
SLICES = """
import json, os, sys, zlib
folder, out = sys.argv[1:3]
asked = json.load(open(os.path.join(folder, "request.json")))
assert asked["version"] == 1 and asked["kind"] == "slices"
answers = []
for r in asked["requests"]:
    assert set(r) == {"id", "task", "question", "options", "pictures", "pixel_mm"}, r
    if r["task"] == "size":
        sys.exit("no sizes")
    if r["task"] == "lobe":
        answers.append({"id": r["id"], "error": "not my task"})
        continue
    size = sum(os.path.getsize(os.path.join(folder, p)) for p in r["pictures"])
    answers.append({"id": r["id"], "text": r["options"][0], "option_scores": {o: len(o) / size for o in r["options"]}})
json.dump({"version": 1, "answers": answers}, open(os.path.join(out, "result.json"), "w"))
"""

#: Bodies of programs that misbehave on a scan; ``{}`` stands for the result's path, ``put`` writes it.
WRONG = {
    "hang": "import time; time.sleep(60)",
    "crash": "import sys; print('oh no'); sys.exit(3)",
    "garbage": "put('not json')",
    "nan": 'put(\'{"version": 1, "marks": [{"point_mm": [NaN, 0, 0], "score": 1}]}\')',
    "infinite": 'put(\'{"version": 1, "marks": [{"point_mm": [0, 0, 0], "score": 1e999}]}\')',
    "out of bounds": 'put(\'{"version": 1, "marks": [{"point_mm": [0, 0, 900], "score": 1}]}\')',
    "negative size": 'put(\'{"version": 1, "marks": [{"point_mm": [1, 1, 1], "diameter_mm": -1, "score": 1}]}\')',
    "other version": 'put(\'{"version": 2, "marks": []}\')',
    "unknown key": 'put(\'{"version": 1, "marks": [], "lesions": 3}\')',
    "deep": "put('[' * 200000)",
    "nothing": "pass",
    "huge": "f = open(result, 'wb')\nwhile True: f.write(b' ' * 1000000)",
    "many prints": "import sys\nwhile True: sys.stdout.write('x' * 1000000)",
    "many files": "for i in range(200): open(result + str(i), 'w').close()\nimport time; time.sleep(60)",
    "link out": "import os; os.symlink('/etc/hostname', result)",
    "pipe": "import os; os.mkfifo(result)",
    "folder": "import os; os.mkdir(result)",
    "memory": "x = bytearray(10**9)",
    "writes outside": "open('/its-was-here', 'w')",
    "writes into its input": "put('{\"version\": 1, \"marks\": []}'); f = open(sys.argv[1] + '/request.json', 'w')",
}
_PUT = (
    "import os, sys\nresult = os.path.join(sys.argv[2], 'result.json')\ndef put(text): open(result, 'w').write(text)\n"
)


#: Connects to a port of this machine, where somebody listens.
CALLS = "import socket\nsocket.create_connection(('127.0.0.1', {port}), 2)"


def wrong(name: str) -> str:
    """A program that misbehaves."""
    return _PUT + WRONG[name]
