"""Stage 6: CT synthesis. A renderer turns a label map into HU; the lesion is patched over its twin.

Renderers know label maps, lesions and acquisitions, and no trial, arm or reader.
"""
