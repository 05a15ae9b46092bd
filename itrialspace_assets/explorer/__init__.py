"""Stage 11, beside the catalog: the explorer. Map, search, images, people's verdicts and readings, and their server.

Rooms know no web server but ``server`` and ``compat``. Inputs and results are only read. The page's sources lie in
``web/``; ``make page`` builds them into ``page/``.
"""
