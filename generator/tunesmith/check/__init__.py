"""Is a repository, or a merged file, sound? A module per kind of file."""
