"""Tunesmith: a pipeline spec in, a repository that fine-tunes and serves a language model out."""

__version__ = "0.2.0"
