"""What the training tests share."""

from run_fixtures import config, kind, one_thread, scene, without_tensorboard  # noqa: F401 - pytest finds them here
