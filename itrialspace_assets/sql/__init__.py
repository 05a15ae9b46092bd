"""SQL of the catalog: ``views`` are built into it, ``questions`` are ready answers for people."""
