"""The study file: what is asked, and by which rules; its lock. Reads keys of answers, never an answer."""
