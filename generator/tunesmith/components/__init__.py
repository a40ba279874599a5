"""What each concern of a repository adds to it: data, training, serving and so on."""
