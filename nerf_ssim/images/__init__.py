"""2D fitting, whole: options, picture, networks, loss, session, loop, scores and the search for a learning rate."""
