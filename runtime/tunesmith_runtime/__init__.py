"""The small runtime shared by generated repositories. It is vendored: edit it as your own code."""
