"""What was generated last time, what is generated now and the user's edits → one repository."""
