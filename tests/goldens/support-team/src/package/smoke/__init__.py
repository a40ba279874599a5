"""The smoke run: every stage for real on a small model, offline."""
