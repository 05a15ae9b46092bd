"""A selection of nodules becomes the donor pool or the host pool of a trial file. Knows no server and no page."""
