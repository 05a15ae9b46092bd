"""Stage 8: readers. A reader looks at a slice or a whole scan and answers.

Readers see pixels and spacings only: never masks, labels or where guidance was drawn.
"""
