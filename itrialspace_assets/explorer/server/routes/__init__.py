"""One router a module. A route parses a strict model, calls a plain function, and answers; nothing is computed here."""
