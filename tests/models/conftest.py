"""What the tests of models share."""

from run_fixtures import config, kind, one_thread, scene, without_tensorboard  # noqa: F401 - pytest finds them here
