"""The reading room: people read cases without knowing what they are; their answers become a reader ``human_<name>``."""
