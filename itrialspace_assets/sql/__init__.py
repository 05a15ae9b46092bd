"""SQL of the catalogue: ``views`` are built into it, ``questions`` are ready answers for people."""
